package main

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// What JSON has no word for is told by the schema.
func TestTyped(t *testing.T) {
	s, err := newSchema(json.RawMessage(fileSchema))
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	for _, test := range []struct {
		s    *schema
		text string
		want any
	}{
		{nil, `null`, nil},
		{nil, `true`, true},
		{nil, `"aGk="`, "aGk="},
		{nil, `9223372036854775807`, int64(math.MaxInt64)},
		{nil, `-9223372036854775808`, int64(math.MinInt64)},
		{nil, `18446744073709551615`, uint64(math.MaxUint64)},
		{nil, `9007199254740993`, int64(9007199254740993)},
		{nil, `1.0`, 1.0},
		{nil, `1e3`, 1000.0},
		{nil, `0.1`, 0.1},
		{nil, `[1, {"a": [2]}]`, []any{int64(1), map[string]any{"a": []any{int64(2)}}}},
		{s, `{"data": "aGk=", "name": "aGk="}`, map[string]any{"data": []byte("hi"), "name": "aGk="}},
		{s, `{"data": null, "tags": ["aGk="]}`, map[string]any{"data": nil, "tags": []any{"aGk="}}},
		{s, `{"made": "2026-01-02T03:04:05.0000006Z"}`, map[string]any{"made": made}},
		{s, `{"size": 1e3}`, map[string]any{"size": int64(1000)}},
		{s, `{"size": 2.0}`, map[string]any{"size": int64(2)}},
		{s, `{"place": [1, 18446744073709551616, 2.0]}`, map[string]any{"place": []any{int64(1), 18446744073709551616.0, 2.0}}},
		{s, `{"parent": {"parent": {"data": "aGk="}}}`, map[string]any{"parent": map[string]any{"parent": map[string]any{"data": []byte("hi")}}}},
		{s, `{"notes": {"data": "aGk="}, "rest": "aGk="}`, map[string]any{"notes": map[string]any{"data": "aGk="}, "rest": "aGk="}},
	} {
		v, err := parseJSON([]byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := typed(v, test.s); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %#v, %v; not %#v", test.text, got, err, test.want)
		}
	}
	for text, s := range map[string]*schema{
		`18446744073709551616`: nil, `-9223372036854775809`: nil, `1e999`: nil, `[{"a": 123456789012345678901}]`: nil,
		`{"size": 18446744073709551616}`: s, `{"size": 1e30}`: s, `{"data": "!"}`: s, `{"made": "yesterday"}`: s,
	} {
		v, err := parseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := typed(v, s); err == nil {
			t.Errorf("%s: %#v", text, got)
		}
	}
	bytes, err := newSchema(json.RawMessage(`{"prefixItems": [{"contentEncoding": "base64"}], "items": {"type": "string"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := typed([]any{"aGk=", "aGk="}, bytes); err != nil || !reflect.DeepEqual(got, []any{[]byte("hi"), "aGk="}) {
		t.Errorf("%#v, %v", got, err)
	}
}

// Bytes, as the specification of MessagePack has them, and the JSON that they become.
func TestMsgpackToJSON(t *testing.T) {
	for in, want := range map[string]string{
		"\x00": "0", "\x7f": "127", "\xe0": "-32", "\xff": "-1", "\xc0": "null", "\xc2": "false", "\xc3": "true",
		"\xcc\xff": "255", "\xcd\xff\xff": "65535", "\xce\xff\xff\xff\xff": "4294967295",
		"\xcf\xff\xff\xff\xff\xff\xff\xff\xff": "18446744073709551615",
		"\xd0\x80":                             "-128", "\xd1\x80\x00": "-32768", "\xd2\x80\x00\x00\x00": "-2147483648",
		"\xd3\x80\x00\x00\x00\x00\x00\x00\x00": "-9223372036854775808", "\xd0\x05": "5",
		"\xca\x3d\xcc\xcc\xcd": "0.1", "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a": "0.1", "\xcb\x40\x08\x00\x00\x00\x00\x00\x00": "3",
		"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00": `"+Inf"`, "\xca\x7f\xc0\x00\x00": `"NaN"`,
		"\xa2hi": `"hi"`, "\xd9\x02hi": `"hi"`, "\xda\x00\x02hi": `"hi"`, "\xdb\x00\x00\x00\x02hi": `"hi"`, "\xa3<\"\n": `"<\"\n"`,
		"\xa1\xff":   `"\ufffd"`,
		"\xc4\x02hi": `"aGk="`, "\xc5\x00\x02hi": `"aGk="`, "\xc6\x00\x00\x00\x02hi": `"aGk="`, "\xc4\x00": `""`,
		"\x90": "[]", "\x92\x01\x02": "[1,2]", "\xdc\x00\x01\x05": "[5]", "\xdd\x00\x00\x00\x01\x05": "[5]",
		"\x80": "{}", "\x82\xa1b\x01\xa1a\x02": `{"b":1,"a":2}`, "\xde\x00\x01\xa1a\xc0": `{"a":null}`, "\xdf\x00\x00\x00\x01\xa1a\xc0": `{"a":null}`,
		"\x81\x05\x01": `{"5":1}`, "\x81\xc4\x02hi\x01": `{"aGk=":1}`,
		"\xd6\xff\x00\x00\x00\x01": `"1970-01-01T00:00:01Z"`, "\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x01": `"1970-01-01T00:00:01.000000001Z"`,
		"\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff": `"1969-12-31T23:59:59.000000001Z"`,
		"\xd4\x05h": `{"extension":5,"data":"aA=="}`, "\xc7\x02\xfehi": `{"extension":-2,"data":"aGk="}`, "\xd5\xffhi": `{"extension":-1,"data":"aGk="}`,
	} {
		if got, err := msgpackToJSON([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v; not %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "\xc1", "\xcc", "\xcf1234567", "\xa2h", "\xd9", "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xffx", "\x91", "\xdd\xff\xff\xff\xff\x01",
		"\x81\x90\x01", "\x81\x80\x01", strings.Repeat("\x8f", 1700), // keys that are arrays and objects
		"\x81\xa1a", "\xdf\xff\xff\xff\xff", "\xd4\x05", "\xc7\x05", "\x01\x02", strings.Repeat("\x91", 200) + "\x01",
	} {
		if got, err := msgpackToJSON([]byte(in)); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
}

// FuzzMsgpack: what the rpc package takes can be shown, but for odd keys, and nothing else makes trouble.
func FuzzMsgpack(f *testing.F) {
	for _, v := range []any{nil, 1, -1, uint64(math.MaxUint64), 1.5, "text", []byte("bytes"), []any{1, "a", nil}, map[string]any{"a": map[string]any{"b": 2}}, time.Unix(1, 2)} {
		b, err := rpc.MessagePack.Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := msgpackToJSON(b)
		if err == nil && !json.Valid(got) {
			t.Errorf("%q becomes %q, which is no JSON", b, got)
		}
		var v any
		if other := rpc.MessagePack.Unmarshal(b, &v); other == nil && err != nil && !errors.Is(err, errKey) {
			t.Errorf("%q is %#v, and can't be shown: %v", b, v, err)
		}
	})
}
