package main

import (
	"context"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/grpcpipe"
	"github.com/standpipe/standpipe/rpc"
)

func init() {
	register(contender{name: "grpcpipe", group: ours, over: "ring", max: standpipeMost,
		note: "what grpc-go runs, over standpipe: the same service, messages and calls",
		serve: func(e *env) error {
			ln, err := standpipe.Listen(e.socket(), nil)
			if err != nil {
				return err
			}
			s := rpc.NewServer(&rpc.ServerConfig{MaxMessage: standpipeMost})
			grpcpipe.NewRegistrar(s).RegisterService(&grpcService, nil)
			e.ready(e.socket())
			return s.Serve(context.Background(), ln)
		},
		dial: func(e *env) (client, error) {
			p, err := rpc.Dial(context.Background(), e.addr, &rpc.DialConfig{MaxMessage: standpipeMost})
			if err != nil {
				return nil, err
			}
			return grpcClient{grpcpipe.NewClientConn(p), p.Close}, nil
		}})
}
