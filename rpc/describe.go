package rpc

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A Description tells what a server's methods are.
type Description struct {
	Methods []MethodInfo `json:"methods"` // in the order of their names
}

// MethodInfo is one method.
type MethodInfo struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "unary" or "stream"

	// In and Out are the JSON Schemas (https://json-schema.org, 2020-12) of what a caller sends and gets.
	In  json.RawMessage `json:"in"`
	Out json.RawMessage `json:"out"`

	Doc string `json:"doc,omitempty"` // see Server.Doc
}

const describeMethod = reserved + "describe"

// Doc says in a few words what method does, for Describe. It may be called before and after Handle.
func (s *Server) Doc(method, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[method] = text
}

// described is a Description on the wire: the schemas are texts, so that every codec takes them.
type described struct {
	Methods []describedMethod `json:"methods"`
}

type describedMethod struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	In   string `json:"in"`
	Out  string `json:"out"`
	Doc  string `json:"doc,omitempty"`
}

// Describe asks the other side what its methods are: those that were handled when it answered. Every server answers, and
// names methods that are not for this user, too.
func Describe(ctx context.Context, p *Peer) (Description, error) {
	got, err := Call[described](WithCodec(ctx, MessagePack), p, describeMethod, struct{}{})
	if err != nil {
		return Description{}, err
	}
	var d Description
	for _, m := range got.Methods {
		if !json.Valid([]byte(m.In)) || !json.Valid([]byte(m.Out)) {
			return Description{}, Errorf(Internal, "the description of %q has no valid schema", m.Name)
		}
		d.Methods = append(d.Methods, MethodInfo{Name: m.Name, Kind: m.Kind, In: json.RawMessage(m.In), Out: json.RawMessage(m.Out), Doc: m.Doc})
	}
	return d, nil
}

// describes adds the method that every server has.
func (s *Server) describes() {
	h := func(context.Context, any) (described, error) { return s.describe(), nil }
	s.add(describeMethod, unaryRoute(s, describeMethod, h))
}

func (s *Server) describe() (d described) {
	s.mu.Lock()
	defer s.mu.Unlock()
	routes := *s.routes.Load()
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		r := routes[name]
		if strings.HasPrefix(name, reserved) {
			continue
		}
		d.Methods = append(d.Methods, describedMethod{Name: name, Kind: r.kind(), In: schemaOf(r.in), Out: schemaOf(r.out), Doc: s.docs[name]})
	}
	return d
}
