package rpc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/protobuf/types/known/structpb"
)

type (
	base struct {
		ID     uint64 `json:"id"`
		Hidden string `json:"-"`
	}
	named struct {
		Field string
	}
	everything struct {
		base             // its fields are this one's
		*Pointed         // so are these
		Tagged   named   `json:"tagged"`
		Named    named   // no tag
		Opt      *string `json:"opt,omitempty"`
		Bool     bool
		Int      int8
		Uint     uint16
		Float    float32
		Data     []byte
		Four     [4]int
		Bytes    [2]byte
		List     []named
		Map      map[string]named
		ByNumber map[int]bool
		Any      any
		Raw      json.RawMessage
		When     time.Time
		Later    *time.Time
		Took     time.Duration
		Big      *big.Int
		Addr     netip.Addr
		Inline   struct{ X int }
		Nothing  struct{}
		Skipped  int `json:"-"`
		private  int
	}
	Pointed struct {
		Far string `json:"far"`
	}
	tagged struct {
		base `json:"base"` // unexported, with a name: it has none of its fields
	}
	Outer struct {
		Pointed `json:"inner"`
	}
	hides struct { // by what it is called, not by its name in Go
		Text string `json:"id"`
		base
	}
	node struct {
		Value int               `json:"value"`
		Next  *node             `json:"next"`
		Kids  []node            `json:"kids"`
		Named map[string]*node  `json:"named"`
		Other *other            `json:"other"`
		Pair  couple[node, int] `json:"pair"`
	}
	other struct {
		Back *node  `json:"back"`
		Self *other `json:"self"`
	}
	couple[A, B any] struct {
		First  *A `json:"first"`
		Second B  `json:"second"`
	}
	tree   []tree
	forest map[string]forest
	text   string
)

// schemaFor is what Describe tells of T, both as an argument and as a result.
func schemaFor[T any](t *testing.T) map[string]any {
	t.Helper()
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "m", func(_ context.Context, v T) (T, error) { return v, nil })
	d, err := rpc.Describe(bounded(t), startServing(t, s).dial(t, nil))
	if err != nil || len(d.Methods) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	m := d.Methods[0]
	if string(m.In) != string(m.Out) || !json.Valid(m.In) {
		t.Fatalf("%s and %s", m.In, m.Out)
	}
	var schema map[string]any
	if err := json.Unmarshal(m.In, &schema); err != nil {
		t.Fatalf("%s: %v", m.In, err)
	}
	return schema
}

// fits says what of v, decoded JSON, is not as schema has it. It knows the words that are used here, and no others.
func fits(root, schema map[string]any, v any, path string) error {
	for word, arg := range schema {
		var err error
		switch word {
		case "$ref":
			err = fits(root, resolve(root, arg.(string)), v, path)
		case "type":
			types, many := arg.([]any)
			if !many {
				types = []any{arg}
			}
			if !slices.Contains(types, any(typeOf(v))) && !(typeOf(v) == "integer" && slices.Contains(types, any("number"))) {
				err = fmt.Errorf("%s is a %s, not %v", path, typeOf(v), types)
			}
		case "anyOf":
			var all []string
			for _, one := range arg.([]any) {
				e := fits(root, one.(map[string]any), v, path)
				if e == nil {
					all = nil
					break
				}
				all = append(all, e.Error())
			}
			if all != nil {
				err = fmt.Errorf("%s is none of %v", path, all)
			}
		case "items":
			list, _ := v.([]any)
			for i, e := range list {
				if err = fits(root, arg.(map[string]any), e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
					return err
				}
			}
		case "minItems", "maxItems":
			if list, ok := v.([]any); ok && float64(len(list)) != arg.(float64) {
				err = fmt.Errorf("%s has %d elements, not %v", path, len(list), arg)
			}
		case "minimum":
			if n, ok := v.(float64); ok && n < arg.(float64) {
				err = fmt.Errorf("%s is %v", path, n)
			}
		case "properties", "additionalProperties":
			err = fitsObject(root, schema, v, path)
		case "$defs", "$comment", "format", "contentEncoding":
		default:
			err = fmt.Errorf("the schema has the word %q", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func fitsObject(root, schema map[string]any, v any, path string) error {
	object, _ := v.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	for k, e := range object {
		s, ok := properties[k].(map[string]any)
		if !ok {
			if s, ok = schema["additionalProperties"].(map[string]any); !ok {
				return fmt.Errorf("%s has %q, which the schema has not", path, k)
			}
		}
		if err := fits(root, s, e, path+"."+k); err != nil {
			return err
		}
	}
	return nil
}

func resolve(root map[string]any, ref string) map[string]any {
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	if ref == "#" {
		return root
	}
	defs, _ := root["$defs"].(map[string]any)
	s, _ := defs[name].(map[string]any)
	if !ok || s == nil || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		panic(fmt.Sprintf("%q leads nowhere, or is no URI", ref))
	}
	return s
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// checkSchema holds values of T, as the codec JSON makes them, against the schema of T, and what else is said to be no T.
func checkSchema[T any](t *testing.T, good []T, bad ...string) {
	t.Helper()
	schema := schemaFor[T](t)
	for _, v := range good {
		b, err := rpc.JSON.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		var decoded any
		if err := json.Unmarshal(b, &decoded); err != nil {
			t.Fatal(err)
		}
		if err := fits(schema, schema, decoded, "it"); err != nil {
			t.Errorf("%T: %v\n%s\n%v", v, err, b, schema)
		}
	}
	for _, text := range bad {
		var decoded any
		if err := json.Unmarshal([]byte(text), &decoded); err != nil {
			t.Fatal(err)
		}
		if fits(schema, schema, decoded, "it") == nil {
			t.Errorf("%s is taken for a %v\n%v", text, reflect.TypeFor[T](), schema)
		}
	}
}

func TestSchemas(t *testing.T) {
	now, word := time.Now(), "x"
	checkSchema(t, []bool{true, false}, `1`, `null`)
	checkSchema(t, []int{-1, 1 << 40}, `1.5`, `"1"`)
	checkSchema(t, []uint8{0, 255}, `-1`)
	checkSchema(t, []float64{1, 1.5}, `"x"`)
	checkSchema(t, []text{"", "x"}, `1`, `null`)
	checkSchema(t, []*int{nil, new(int)}, `"x"`)
	checkSchema(t, [][]byte{nil, {1, 2}}, `[1]`)
	checkSchema(t, [][]int{nil, {}, {1}}, `["x"]`, `{}`)
	checkSchema(t, [][2]int{{1, 2}}, `[1]`, `[1, 2, 3]`, `null`)
	checkSchema(t, [][2]byte{{1, 2}}, `"AQI="`)
	checkSchema(t, []map[string]int{nil, {"a": 1}}, `{"a": "x"}`, `[]`)
	checkSchema(t, []map[int]int{{1: 1}})
	checkSchema(t, []any{nil, 1, "x", []any{1}, map[string]any{"a": nil}})
	checkSchema(t, []struct{}{{}}, `{"a": 1}`, `1`)
	checkSchema(t, []time.Time{now}, `1`)
	checkSchema(t, []time.Duration{time.Second}, `"1s"`)
	checkSchema(t, []json.RawMessage{json.RawMessage(`{"a": [1]}`)})
	checkSchema(t, []named{{"x"}}, `{"field": "x"}`, `{"Field": 1}`, `null`)
	checkSchema(t, []struct{ A, B int }{{1, 2}}, `{"C": 1}`)
	checkSchema(t, []Outer{{}, {Pointed{"x"}}}, `{"far": "x"}`)
	checkSchema(t, []tagged{{}}, `{"id": 1}`)
	checkSchema(t, []hides{{Text: "x"}}, `{"id": 1}`)
	checkSchema(t, []everything{{}, {
		base: base{ID: 1, Hidden: "h"}, Pointed: &Pointed{"x"}, Opt: &word, Data: []byte{1}, List: []named{{"a"}}, Map: map[string]named{"k": {"v"}},
		ByNumber: map[int]bool{3: true}, Any: []any{1, nil}, Raw: json.RawMessage(`[1]`), When: now, Later: &now, Took: 5, Big: big.NewInt(7),
		Addr: netip.MustParseAddr("::1"), Skipped: 2, private: 3,
	}}, `{"Hidden": "h"}`, `{"Skipped": 1}`, `{"private": 1}`, `{"base": {}}`, `{"Pointed": {}}`, `{"opt": 1}`, `{"List": [{"x": 1}]}`, `{"Inline": {"Y": 1}}`)
}

func TestSchemasOfRecursiveTypes(t *testing.T) {
	leaf := node{Value: 1}
	full := node{Value: 2, Next: &leaf, Kids: []node{leaf, {}}, Named: map[string]*node{"k": &leaf, "nil": nil},
		Other: &other{Back: &leaf, Self: &other{}}, Pair: couple[node, int]{&leaf, 3}}
	checkSchema(t, []node{full}, `{"next": {"x": 1}}`, `{"kids": [{"kids": [1]}]}`, `{"other": {"self": {"back": {"value": "x"}}}}`, `{"pair": {"first": 1}}`)
	checkSchema(t, []*node{nil, &full}, `{"next": {"next": {"x": 1}}}`)
	checkSchema(t, [][]node{nil, {full}}, `[{"kids": 1}]`)
	checkSchema(t, []map[string]other{{"k": {Back: &full}}}, `{"k": {"back": {"other": 1}}}`)
	checkSchema(t, []couple[node, couple[int, string]]{{First: &full}}, `{"second": {"first": "x"}}`)
	checkSchema(t, []tree{nil, {}, {nil, {{}, {}}}}, `[[1]]`)
	checkSchema(t, []forest{nil, {"a": {"b": nil}}}, `{"a": {"b": 1}}`)
	checkSchema(t, []struct{ T, U tree }{{tree{{}}, nil}}, `{"T": [[{}]]}`)
}

// What encodes itself is described as far as that can be known.
func TestSchemasOfOthers(t *testing.T) {
	if s := schemaFor[rpc.Raw](t); len(s) != 0 {
		t.Errorf("Raw: %v", s)
	}
	if s := schemaFor[*structpb.Struct](t); s["type"] != "object" || !strings.Contains(fmt.Sprint(s["$comment"]), "google.protobuf.Struct") {
		t.Errorf("a Protobuf message: %v", s)
	}
	if s := schemaFor[time.Time](t); s["format"] != "date-time" {
		t.Errorf("a time: %v", s)
	}
	if s := schemaFor[[]byte](t); s["contentEncoding"] != "base64" {
		t.Errorf("[]byte: %v", s)
	}
	if s := schemaFor[netip.Addr](t); s["type"] != "string" {
		t.Errorf("one with MarshalText: %v", s)
	}
	for name, s := range map[string]map[string]any{"an interface": schemaFor[fmt.Stringer](t), "a func": schemaFor[func()](t), "MarshalJSON": schemaFor[big.Int](t)} {
		if len(s) != 0 {
			t.Errorf("%s: %v", name, s)
		}
	}
}

func TestDescribe(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	s.Doc("b", "before Handle")
	s.Doc("never", "is not handled")
	rpc.Handle(s, "b", func(_ context.Context, n int) (string, error) { return "", nil })
	rpc.HandleStream(s, "a", func(_ context.Context, st *rpc.Stream[bool, *node]) error { return nil })
	rpc.Handle(s, "c", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	rpc.Handle(s, "ä\n", func(context.Context, rpc.Raw) (any, error) { return nil, nil })
	s.Doc("a", "an old text")
	s.Doc("a", "behind Handle: <ä> & \"quoted\"")
	s.Require("c", standpipe.User(stranger(t)))
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{nil, rpc.JSON, rpc.Protobuf, otherCodec{rpc.JSON}} {
			p := dial(&rpc.DialConfig{Codec: codec})
			for _, ctx := range []context.Context{bounded(t), rpc.WithCodec(bounded(t), rpc.Protobuf)} {
				d, err := rpc.Describe(ctx, p)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, m := range d.Methods {
					got = append(got, fmt.Sprintf("%s %s %q", m.Name, m.Kind, m.Doc))
				}
				want := []string{`a stream "behind Handle: <ä> & \"quoted\""`, `b unary "before Handle"`, `c unary ""`, "ä\n unary \"\""}
				if !slices.Equal(got, want) {
					t.Fatalf("%q", got)
				}
				if m := d.Methods[0]; string(m.In) != `{"type":"boolean"}` || !strings.Contains(string(m.Out), "$defs") {
					t.Errorf("a takes %s and sends %s", m.In, m.Out)
				}
				if m := d.Methods[1]; string(m.In) != `{"type":"integer"}` || string(m.Out) != `{"type":"string"}` {
					t.Errorf("b takes %s and returns %s", m.In, m.Out)
				}
			}
		}
		// A Description is JSON itself, for people and programs.
		d, err := rpc.Describe(bounded(t), dial(nil))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(d)
		var again rpc.Description
		if err == nil {
			err = json.Unmarshal(b, &again)
		}
		if err != nil || !reflect.DeepEqual(d, again) {
			t.Errorf("%s: %v", b, err)
		}
	})
}

// otherCodec is a codec that only this side knows.
type otherCodec struct{ rpc.Codec }

func (otherCodec) Name() string { return "other" }

// Methods that are handled later are described then; a side without any says so; and each side of a connection describes its own.
func TestDescribeGrows(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "describe the caller", func(ctx context.Context, _ struct{}) (int, error) {
		d, err := rpc.Describe(ctx, rpc.PeerFrom(ctx))
		return len(d.Methods), err
	})
	sv := startServing(t, s)
	back := rpc.NewServer(nil)
	p, q := sv.dial(t, nil), sv.dial(t, &rpc.DialConfig{Server: back})
	rpc.Handle(back, "one", func(_ context.Context, n int) (int, error) { return n, nil })
	rpc.Handle(back, "two", func(_ context.Context, n int) (int, error) { return n, nil })
	for p, want := range map[*rpc.Peer]int{p: 0, q: 2} {
		if n, err := rpc.Call[int](bounded(t), p, "describe the caller", struct{}{}); n != want || err != nil {
			t.Errorf("the caller has %d methods, %v, not %d", n, err, want)
		}
	}
	for i := range 3 {
		d, err := rpc.Describe(bounded(t), p)
		if err != nil || len(d.Methods) != 1+i {
			t.Fatalf("%+v, %v", d, err)
		}
		rpc.Handle(s, fmt.Sprint("more", i), func(_ context.Context, n int) (int, error) { return n, nil })
	}
	empty := startServing(t, rpc.NewServer(nil)).dial(t, nil)
	if d, err := rpc.Describe(bounded(t), empty); err != nil || len(d.Methods) != 0 {
		t.Errorf("a server without methods: %+v, %v", d, err)
	}
}

// A description that is none is an error, and so is a side that has none to give.
func TestDescribeNonsense(t *testing.T) {
	p, w := wired(t, nil)
	for _, c := range []struct {
		answer any
		code   rpc.Code
	}{
		{map[string]any{"methods": []any{map[string]any{"name": "m", "kind": "unary", "in": "{", "out": "{}"}}}, rpc.Internal},
		{map[string]any{"methods": 5}, rpc.Internal},
		{map[string]any{}, rpc.OK},
	} {
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			f := w.next(wireOpen)
			b, err := rpc.MessagePack.Append(nil, c.answer)
			if err != nil {
				t.Error(err)
			}
			w.send(wireFrame{f.stream, wireClose, wireValue, 0, b})
		}()
		if d, err := rpc.Describe(bounded(t), p); rpc.CodeOf(err) != c.code || len(d.Methods) != 0 {
			t.Errorf("%v: %+v, %v", c.answer, d, err)
		}
		<-answered
	}
}

func TestReservedNames(t *testing.T) {
	s := rpc.NewServer(nil)
	for _, name := range []string{"standpipe.", "standpipe.describe", "standpipe.x"} {
		for kind, handle := range map[string]func(){
			"Handle":       func() { rpc.Handle(s, name, func(context.Context, int) (int, error) { return 0, nil }) },
			"HandleStream": func() { rpc.HandleStream(s, name, func(context.Context, *rpc.Stream[int, int]) error { return nil }) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s took %q", kind, name)
					}
				}()
				handle()
			}()
		}
	}
	rpc.Handle(s, "standpipe", func(context.Context, int) (int, error) { return 0, nil })
	rpc.Handle(s, "my.standpipe.describe", func(context.Context, int) (int, error) { return 0, nil })
}

// A type that embeds a message has its methods, but no message behind them.
func TestSchemaOfEmbeddedMessage(t *testing.T) {
	type wrapped struct{ *structpb.Value }
	s := rpc.NewServer(nil)
	rpc.Handle(s, "odd", func(context.Context, *wrapped) (int, error) { return 0, nil })
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		if d, err := rpc.Describe(bounded(t), dial(nil)); err != nil || len(d.Methods) != 1 {
			t.Fatal(d, err)
		}
	})
}
