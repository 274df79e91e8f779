module github.com/standpipe/standpipe

go 1.26.0

require (
	github.com/ugorji/go/codec v1.3.2 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
