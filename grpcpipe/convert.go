package grpcpipe

import (
	"errors"
	"strings"

	"github.com/standpipe/standpipe/rpc"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// toStatus is rpc's error as gRPC's.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	var e *rpc.Error
	if !errors.As(err, &e) {
		e = &rpc.Error{Code: rpc.CodeOf(err), Message: err.Error()}
	}
	s := &spb.Status{Code: int32(e.Code), Message: e.Message}
	for _, d := range e.Details {
		s.Details = append(s.Details, &anypb.Any{TypeUrl: d.Type, Value: d.Value})
	}
	return status.ErrorProto(s)
}

// fromStatus is a handler's error as rpc's.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	p := s.Proto()
	e := &rpc.Error{Code: rpc.Code(p.GetCode()), Message: p.GetMessage()}
	for _, d := range p.GetDetails() {
		e.Details = append(e.Details, rpc.Detail{Type: d.GetTypeUrl(), Value: d.GetValue()})
	}
	return e
}

// carried is what of gRPC's metadata travels.
func carried(md metadata.MD) rpc.Metadata {
	all := make(rpc.Metadata, len(md))
	for k, v := range md {
		k = strings.ToLower(k)
		switch {
		case strings.HasPrefix(k, ":"), strings.HasPrefix(k, "grpc-"):
		case k == "content-type", k == "user-agent", k == "te":
		default:
			all[k] = v
		}
	}
	return all
}
