package main

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// serve answers until ctx ends.
func serve(ctx context.Context) error {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "greet", func(ctx context.Context, name string) (string, error) {
		if name == "" {
			return "", rpc.Errorf(rpc.InvalidArgument, "whom?")
		}
		return fmt.Sprintf("hello %s, you are %v", name, rpc.PeerFrom(ctx).Identity()), nil
	})
	ln, err := standpipe.Listen("hello", nil) // for this user's programs only
	if err != nil {
		return err
	}
	return s.Serve(ctx, ln)
}
