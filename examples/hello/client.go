package main

import (
	"context"

	"github.com/standpipe/standpipe/rpc"
)

// greet calls the server, and waits for it to come up first.
func greet(ctx context.Context, name string) (string, error) {
	p, err := rpc.Dial(ctx, "hello", &rpc.DialConfig{Wait: true})
	if err != nil {
		return "", err
	}
	defer p.Close()
	return rpc.Call[string](ctx, p, "greet", name)
}
