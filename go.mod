module github.com/standpipe/standpipe

go 1.26.0

require (
	github.com/ugorji/go/codec v1.3.2
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
	google.golang.org/protobuf v1.36.12
)
