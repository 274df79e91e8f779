package rpc

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
)

// schemaOf is the JSON Schema of what the codecs make of t. Nothing is required, since a decoder leaves zero what is
// missing, and nothing but the fields is allowed, so that a field that is spelled wrong shows.
func schemaOf(t reflect.Type) string {
	w := schemaWalk{root: t, names: map[reflect.Type]string{}, defs: schema{}}
	s := w.of(t, true)
	if len(w.defs) > 0 {
		s["$defs"] = w.defs
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "{}" // cannot be: a schema is maps, lists and texts
	}
	return string(b)
}

type schema map[string]any

type schemaWalk struct {
	root  reflect.Type
	names map[reflect.Type]string // of the types in defs
	defs  schema
}

func (w *schemaWalk) of(t reflect.Type, top bool) schema {
	if p, ok := reflect.Zero(reflect.PointerTo(t)).Interface().(parcelInto); ok {
		return w.of(p.held(), top)
	}
	if s := special(t); s != nil {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		if t.Name() != "" && !top {
			return w.reference(t)
		}
	}
	return w.inline(t)
}

func (w *schemaWalk) inline(t reflect.Type) schema {
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Pointer:
		return schema{"anyOf": []schema{w.of(t.Elem(), false), {"type": "null"}}}
	case reflect.Slice:
		return schema{"type": []string{"array", "null"}, "items": w.of(t.Elem(), false)}
	case reflect.Array:
		return schema{"type": "array", "items": w.of(t.Elem(), false), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return schema{"type": []string{"object", "null"}, "additionalProperties": w.of(t.Elem(), false)}
	case reflect.Struct:
		return w.fields(t)
	}
	return schema{} // anything: an interface, or what can't be encoded
}

// special is the schema of types that encode themselves, or nil.
func special(t reflect.Type) schema {
	implements := func(i reflect.Type) bool { return t.Implements(i) || reflect.PointerTo(t).Implements(i) }
	switch {
	case t == reflect.TypeFor[Raw](), t == reflect.TypeFor[json.RawMessage](), t == reflect.TypeFor[json.Number]():
		return schema{}
	case t == typeBuffer:
		return schema{"$comment": "a Buffer, which travels beside the value", "type": []string{"object", "null"}}
	case t == reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return schema{"type": []string{"string", "null"}, "contentEncoding": "base64"}
	case t.Kind() == reflect.Struct && t.NumField() == 0:
		return schema{"type": []string{"object", "null"}, "additionalProperties": false}
	case t.Implements(reflect.TypeFor[proto.Message]()) && t.Kind() == reflect.Pointer:
		name := protoName(t)
		s := schema{"$comment": fmt.Sprintf("the Protobuf message %s, in its JSON form", name)}
		if name == "google.protobuf.Struct" || !strings.HasPrefix(name, "google.protobuf.") { // a Timestamp is a text, and so on
			s["type"] = "object"
		}
		return s
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return nil
	case implements(reflect.TypeFor[json.Marshaler]()):
		return schema{}
	case implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return schema{"type": "string"}
	}
	return nil
}

// reference refers to a type that has a name, by which it may contain itself: to the top, or to its schema in defs.
func (w *schemaWalk) reference(t reflect.Type) schema {
	if t == w.root {
		return schema{"$ref": "#"}
	}
	name, seen := w.names[t]
	if !seen {
		for name = strings.Map(inReference, t.Name()); w.defs[name] != nil; name += "_" {
		}
		w.names[t], w.defs[name] = name, schema{}
		w.defs[name] = w.inline(t)
	}
	return schema{"$ref": "#/$defs/" + name}
}

// inReference makes the names of generic types, such as "list[a/b.T]", fit for a JSON pointer in a URI.
func inReference(r rune) rune {
	if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
		return r
	}
	return '_'
}

func (w *schemaWalk) fields(t reflect.Type) schema {
	properties := schema{}
	depths := map[string]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, tags, _ := strings.Cut(f.Tag.Get("json"), ",")
		embedded := f.Anonymous && isStruct(f.Type)
		switch {
		case !f.IsExported() && !embedded, f.Tag.Get("json") == "-", len(f.Index) > 1 && !flattened(t, f):
			continue
		case embedded && name == "":
			continue // its fields come by themselves
		case name == "":
			name = f.Name
		}
		if depth, ok := depths[name]; ok && depth < len(f.Index) {
			continue // the outer one hides it
		}
		depths[name] = len(f.Index)
		if properties[name] = w.of(f.Type, false); slices.Contains(strings.Split(tags, ","), "string") {
			properties[name] = schema{} // a text in JSON, and no other codec's
		}
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// flattened says whether every struct on the way to a promoted field is one without a name of its own.
func flattened(t reflect.Type, f reflect.StructField) bool {
	for i := 1; i < len(f.Index); i++ {
		outer := t.FieldByIndex(f.Index[:i])
		if name, _, _ := strings.Cut(outer.Tag.Get("json"), ","); name != "" {
			return false
		}
	}
	return true
}

func isStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// protoName is the name of a Protobuf message. A struct that only embeds one has no name of its own, and would panic.
func protoName(t reflect.Type) (name string) {
	defer func() {
		if recover() != nil {
			name = t.String()
		}
	}()
	return string(reflect.Zero(t).Interface().(proto.Message).ProtoReflect().Descriptor().FullName())
}
