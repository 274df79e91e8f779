package main

import (
	"context"

	"github.com/standpipe/standpipe/rpc"
)

//go:generate go run github.com/tinylib/msgp@v1.6.5 -file generated.go -tests=false -io=false -unexported

// generatedRecord is a record for which code was generated.
type generatedRecord struct {
	ID   uint64 `json:"id" msg:"id"`
	Name string `json:"name" msg:"name"`
	Data []byte `json:"data" msg:"data"`
}

//msgp:ignore generatedEnd generatedCaller

// generatedEnd calls with such records.
type generatedEnd struct{ typedEnd }

func (generatedEnd) caller(p *rpc.Peer) caller { return generatedCaller{p} }

type generatedCaller struct{ p *rpc.Peer }

func (k generatedCaller) call(req []byte) ([]byte, error) {
	r, err := rpc.Call[generatedRecord](context.Background(), k.p, "generated.echo", generatedRecord(newRecord(req)))
	return r.Data, err
}
