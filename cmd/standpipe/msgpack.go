package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// JSON has no bytes, no times and one kind of number; MessagePack has. What a server wants stands in its schema.

// typed makes of a parsed JSON value one for MessagePack: integers stay integers, and where the schema says so, base64
// becomes bytes and a date-time a timestamp. s may be nil.
func typed(v any, s *schema) (any, error) {
	if s == nil {
		return typedBy(v, nil)
	}
	return typedBy(v, places(nil, s.compiled))
}

func typedBy(v any, schemas []*jsonschema.Schema) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return typedNumber(v.String(), schemas)
	case string:
		return typedString(v, schemas)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			var err error
			if list[i], err = typedBy(item, itemPlaces(schemas, i)); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name, field := range v {
			var err error
			if fields[name], err = typedBy(field, fieldPlaces(schemas, name)); err != nil {
				return nil, err
			}
		}
		return fields, nil
	}
	return v, nil
}

func typedNumber(text string, schemas []*jsonschema.Schema) (any, error) {
	whole, broken := false, false // what the schema allows
	for _, s := range schemas {
		if s.Types != nil {
			for _, name := range s.Types.ToStrings() {
				whole = whole || name == "integer"
				broken = broken || name == "number"
			}
		}
	}
	digits := text
	if strings.ContainsAny(text, ".eE") {
		if digits = ""; whole && !broken { // 1e3 is an integer, too
			if r, ok := new(big.Rat).SetString(text); ok && r.IsInt() {
				digits = r.Num().String()
			}
		}
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || digits != "" && !broken {
		return nil, fmt.Errorf("MessagePack has no number for %.40s, which needs more than 64 bits", text)
	}
	return f, nil
}

func typedString(text string, schemas []*jsonschema.Schema) (any, error) {
	for _, s := range schemas {
		switch {
		case s.ContentEncoding != nil && s.ContentEncoding.Name == "base64":
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, fmt.Errorf("%s is no base64: %w", briefly(text), err)
			}
			return b, nil
		case s.Format != nil && s.Format.Name == "date-time":
			t, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return nil, fmt.Errorf("%s is no date-time: %w", briefly(text), err)
			}
			return t, nil
		}
	}
	return text, nil
}

// places appends s to list, and the schemas that it leads to for the same value.
func places(list []*jsonschema.Schema, s *jsonschema.Schema) []*jsonschema.Schema {
	if s == nil {
		return list
	}
	for _, known := range list {
		if known == s {
			return list
		}
	}
	list = places(append(list, s), s.Ref)
	for _, parts := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
		for _, part := range parts {
			list = places(list, part)
		}
	}
	return list
}

func itemPlaces(schemas []*jsonschema.Schema, i int) (list []*jsonschema.Schema) {
	for _, s := range schemas {
		if i < len(s.PrefixItems) {
			list = places(list, s.PrefixItems[i])
		} else {
			list = places(list, s.Items2020)
		}
	}
	return list
}

func fieldPlaces(schemas []*jsonschema.Schema, name string) (list []*jsonschema.Schema) {
	for _, s := range schemas {
		if field := s.Properties[name]; field != nil {
			list = places(list, field)
		} else if other, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
			list = places(list, other)
		}
	}
	return list
}

// unpacker turns one MessagePack value into JSON. Bytes become base64, and times RFC 3339. It takes nothing on trust: what a
// length claims must be there, and values are nested no deeper than rpc takes them.
// https://github.com/msgpack/msgpack/blob/master/spec.md
type unpacker struct {
	in  []byte
	out []byte
	err error // the first; nothing is taken from in behind it
}

const mostNested = 128

var (
	errNoMsgpack = errors.New("it is not one whole MessagePack value")
	errKey       = errors.New("an array or an object is the key of an object")
)

func msgpackToJSON(b []byte) ([]byte, error) {
	u := unpacker{in: b}
	u.value(0)
	if len(u.in) > 0 {
		u.fail(errNoMsgpack)
	}
	return u.out, u.err
}

func (u *unpacker) fail(err error) {
	if u.err == nil {
		u.err = err
	}
	u.in = nil
}

// take is the next n bytes; nil, where they are not there.
func (u *unpacker) take(n uint64) []byte {
	if n > uint64(len(u.in)) {
		u.fail(errNoMsgpack)
		return nil
	}
	b := u.in[:n]
	u.in = u.in[n:]
	return b
}

// number is the next 1, 2, 4 or 8 bytes: 1<<log.
func (u *unpacker) number(log byte) uint64 {
	var whole [8]byte
	b := u.take(1 << log)
	copy(whole[8-len(b):], b)
	return binary.BigEndian.Uint64(whole[:])
}

func (u *unpacker) value(depth int) {
	if depth > mostNested {
		u.fail(fmt.Errorf("it is nested deeper than %d", mostNested))
	}
	head := u.take(1)
	if head == nil {
		return
	}
	switch c := head[0]; {
	case c <= 0x7f, c >= 0xe0:
		u.out = strconv.AppendInt(u.out, int64(int8(c)), 10)
	case c <= 0x8f:
		u.object(uint64(c&15), depth)
	case c <= 0x9f:
		u.array(uint64(c&15), depth)
	case c <= 0xbf:
		u.text(uint64(c & 31))
	case c == 0xc0:
		u.out = append(u.out, "null"...)
	case c == 0xc1:
		u.fail(errNoMsgpack)
	case c <= 0xc3:
		u.out = strconv.AppendBool(u.out, c == 0xc3)
	case c <= 0xc6:
		u.bytes(u.number(c - 0xc4))
	case c <= 0xc9:
		u.extension(u.number(c - 0xc7))
	case c == 0xca:
		u.float(float64(math.Float32frombits(uint32(u.number(2)))), 32)
	case c == 0xcb:
		u.float(math.Float64frombits(u.number(3)), 64)
	case c <= 0xcf:
		u.out = strconv.AppendUint(u.out, u.number(c-0xcc), 10)
	case c <= 0xd3:
		unused := 64 - 8<<(c-0xd0) // bits, above the sign
		u.out = strconv.AppendInt(u.out, int64(u.number(c-0xd0)<<unused)>>unused, 10)
	case c <= 0xd8:
		u.extension(1 << (c - 0xd4))
	case c <= 0xdb:
		u.text(u.number(c - 0xd9))
	case c <= 0xdd:
		u.array(u.number(c-0xdc+1), depth)
	default:
		u.object(u.number(c-0xde+1), depth)
	}
}

func (u *unpacker) array(n uint64, depth int) {
	u.out = append(u.out, '[')
	for i := uint64(0); i < n && u.err == nil; i++ {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		u.value(depth + 1)
	}
	u.out = append(u.out, ']')
}

func (u *unpacker) object(n uint64, depth int) {
	u.out = append(u.out, '{')
	for i := uint64(0); i < n && u.err == nil; i++ {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		u.key(depth + 1)
		u.out = append(u.out, ':')
		u.value(depth + 1)
	}
	u.out = append(u.out, '}')
}

// key is a value as a name, since JSON has no others: 5 becomes "5". Arrays and objects are none: quoted within each other, they
// would double with each level.
func (u *unpacker) key(depth int) {
	if len(u.in) > 0 {
		if c := u.in[0]; c >= 0x80 && c <= 0x9f || c >= 0xdc && c <= 0xdf {
			u.fail(errKey)
		}
	}
	at := len(u.out)
	u.value(depth)
	if name := u.out[at:]; len(name) > 0 && name[0] != '"' {
		u.out = appendString(u.out[:at], string(name))
	}
}

func (u *unpacker) text(n uint64) { u.out = appendString(u.out, string(u.take(n))) }

func (u *unpacker) bytes(n uint64) {
	u.out = append(u.out, '"')
	u.out = base64.StdEncoding.AppendEncode(u.out, u.take(n))
	u.out = append(u.out, '"')
}

func (u *unpacker) float(f float64, bits int) {
	if math.IsNaN(f) || math.IsInf(f, 0) { // which JSON has not
		u.out = appendString(u.out, strconv.FormatFloat(f, 'g', -1, bits))
		return
	}
	var v any = f
	if bits == 32 {
		v = float32(f)
	}
	text, err := json.Marshal(v)
	if err != nil {
		u.fail(err)
	}
	u.out = append(u.out, text...)
}

// extension is the timestamp, or one that only its makers know: shown by its number and its bytes.
func (u *unpacker) extension(n uint64) {
	kind := u.take(1)
	data := u.take(n)
	if u.err != nil {
		return
	}
	if t, ok := timestamp(data); ok && kind[0] == 0xff {
		u.out = appendString(u.out, t.UTC().Format(time.RFC3339Nano))
		return
	}
	u.out = fmt.Appendf(u.out, `{"extension":%d,"data":"%s"}`, int8(kind[0]), base64.StdEncoding.EncodeToString(data))
}

// timestamp is the extension -1, in its three lengths.
func timestamp(b []byte) (time.Time, bool) {
	switch len(b) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(b)), 0), true
	case 8:
		n := binary.BigEndian.Uint64(b)
		return time.Unix(int64(n&(1<<34-1)), int64(n>>34)), true
	case 12:
		return time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))), true
	}
	return time.Time{}, false
}

// appendString appends s as JSON, with < and > as they are.
func appendString(b []byte, s string) []byte {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return append(b, `""`...) // cannot be: every string has its JSON
	}
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
