module github.com/standpipe/standpipe/cmd/standpipe

go 1.26.0

require github.com/standpipe/standpipe v0.0.0-00010101000000-000000000000

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/rogpeppe/go-internal v1.16.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
)

replace github.com/standpipe/standpipe => ../../
