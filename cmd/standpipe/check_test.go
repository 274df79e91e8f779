package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const fileSchema = `{"type": "object", "additionalProperties": false, "properties": {
	"name": {"type": "string"},
	"data": {"type": ["string", "null"], "contentEncoding": "base64"},
	"made": {"type": "string", "format": "date-time"},
	"size": {"type": "integer", "minimum": 0},
	"tags": {"type": ["array", "null"], "items": {"type": "string"}},
	"place": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
	"notes": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
	"rest": {},
	"parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
	"owner": {"anyOf": [{"$ref": "#/$defs/User"}, {"type": "null"}]}},
	"$defs": {"User": {"type": "object", "additionalProperties": false, "properties": {
		"id": {"type": "integer"}, "boss": {"anyOf": [{"$ref": "#/$defs/User"}, {"type": "null"}]}}}}}`

// What does not fit is named with its place, and what was expected.
func TestCheck(t *testing.T) {
	s, err := newSchema(json.RawMessage(fileSchema))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{}`: "",
		`{"name": "x", "data": "aGk=", "made": "2026-01-02T03:04:05Z", "size": 18446744073709551615, "tags": null}`: "",
		`{"parent": {"parent": null, "name": "y"}, "owner": {"boss": {"id": 1}}, "rest": [{}]}`:                     "",
		`7`:                                "the value is 7, not an object",
		`{"name": 3}`:                      "name is 3, not a string",
		`{"name": null}`:                   "name is null, not a string",
		`{"nmae": "x"}`:                    `the value has no field "nmae" (did you mean name?), its fields are data, made, name, notes, owner, parent, place, rest, size, tags`,
		`{"data": "!!"}`:                   "data is no base64: illegal base64 data at input byte 0",
		`{"size": -1}`:                     "size is -1, below 0",
		`{"size": 1.5}`:                    "size is 1.5, not an integer",
		`{"size": 1e99}`:                   "",
		`{"tags": ["a", 2, "c"]}`:          "tags[1] is 2, not a string",
		`{"tags": 5}`:                      "tags is 5, not an array",
		`{"place": [1]}`:                   "place has 1 values, not 2 or more",
		`{"place": [1, 2, 3]}`:             "place has 3 values, not 2 or fewer",
		`{"notes": {"a b": 1}}`:            `notes["a b"] is 1, not a string`,
		`{"owner": {"boss": {"id": "1"}}}`: `owner.boss.id is "1", not an integer`,
		`{"owner": 5}`:                     "owner is 5, not an object",
		`{"owner": {"di": 5}}`:             `owner has no field "di" (did you mean id?), its fields are boss, id`,
		`{"name": 1, "size": true}`:        "name is 1, not a string; size is true, not an integer",
		`{"tags": [1,2,3,4,5,6,7]}`:        "tags[0] is 1, not a string; tags[1] is 2, not a string; tags[2] is 3, not a string; tags[3] is 4, not a string; tags[4] is 5, not a string; and 2 more",
		`{"size": "` + strings.Repeat("x", 50) + `"}`:          "size is a string of 50 bytes, not an integer",
		`{"name": [` + strings.Repeat("11111, ", 20) + ` 1]}`:  "name is an array of 21 values, not a string",
		`{"place": {"` + strings.Repeat("x", 50) + `": null}}`: "place is an object of 1 fields, not an array",
	} {
		v, err := parseJSON([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := ""
		if err := s.check(v); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
	v, _ := parseJSON([]byte(`{"made": "yesterday"}`))
	if err := s.check(v); err == nil || !strings.HasPrefix(err.Error(), `made is "yesterday", no date-time: `) {
		t.Errorf("a time that is none: %v", err)
	}
}

// Schemas from others have more than ours.
func TestCheckForeign(t *testing.T) {
	for _, test := range []struct{ schema, value, want string }{
		{`{"required": ["a", "b"]}`, `{}`, "the value lacks a, b"},
		{`{"maximum": 3}`, `4`, "the value is 4, above 3"},
		{`{"enum": ["a", "b"]}`, `"c"`, "the value: value must be one of 'a', 'b'"},
		{`{"maxLength": 2}`, `"abc"`, "the value: maxLength: got 3, want 2"},
		{`{"oneOf": [{"type": "string"}, {"type": "integer"}]}`, `true`, "the value is true, not an integer or a string"},
		{`{"not": {}}`, `1`, "the value: 'not' failed"},
		{`false`, `1`, "the value: false schema"},
	} {
		s, err := newSchema(json.RawMessage(test.schema))
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseJSON([]byte(test.value))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(v); err == nil || err.Error() != test.want {
			t.Errorf("%s for %s: %v, not %s", test.value, test.schema, err, test.want)
		}
	}
}

// A server can have any schema. None makes this side open files, or go round in circles.
func TestSchemaHostile(t *testing.T) {
	for _, text := range []string{
		`{"$ref": "file:///etc/passwd"}`, `{"$ref": "http://127.0.0.1/x"}`, `{"$ref": "/etc/passwd"}`, `{"$schema": "file:///etc/passwd"}`,
		`{"type": 12}`, `{"pattern": "("}`, `[]`, `"x"`, `{"minimum": 1e999999999}`, `{`, `{} {}`,
	} {
		if _, err := newSchema(json.RawMessage(text)); err == nil {
			t.Errorf("%s is of use", text)
		}
	}
	for _, text := range []string{`{"$ref": "#"}`, `{"anyOf": [{"$ref": "#"}]}`} {
		s, err := newSchema(json.RawMessage(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(json.Number("1")); err == nil {
			t.Errorf("1 fits %s", text)
		}
		if v, err := typed(json.Number("1"), s); v != int64(1) || err != nil {
			t.Errorf("1 by %s is %v, %v", text, v, err)
		}
	}
}

func TestParseJSON(t *testing.T) {
	for _, text := range []string{"", "1 2", "{", "1e99999", "[1e-99999]", `{"a": 1E123456789012345678901234567890}`} {
		if v, err := parseJSON([]byte(text)); err == nil {
			t.Errorf("%s is %v", text, v)
		}
	}
	if v, err := parseJSON([]byte(" 18446744073709551616 ")); v != json.Number("18446744073709551616") || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestBrief(t *testing.T) {
	for schema, want := range map[string]string{
		`{}`: "any", `true`: "any", `false`: "nothing", `not JSON`: "any",
		`{"$comment": "a time"}`: "any (a time)",
		`{"type": "string"}`:     "string",
		`{"type": ["string", "null"], "contentEncoding": "base64"}`:                    "base64",
		`{"type": "string", "format": "date-time"}`:                                    "date-time",
		`{"type": "integer", "minimum": 0}`:                                            "integer >= 0",
		`{"type": ["array", "null"], "items": {}}`:                                     "[any]",
		`{"type": "array"}`:                                                            "[any]",
		`{"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}`: "[number x 3]",
		`{"prefixItems": [{"type": "number"}, {"type": "number"}], "type": "array"}`:   "[number, number]",
		`{"type": ["object", "null"], "additionalProperties": false}`:                  "{}",
		`{"type": ["object", "null"], "additionalProperties": {"type": "boolean"}}`:    "{*: boolean}",
		`{"type": "object", "$comment": "the Protobuf message a.B"}`:                   "object (the Protobuf message a.B)",
		`{"type": "object"}`: "object",
		`{"anyOf": [{"type": "integer"}, {"type": "null"}]}`: "integer or null",
		`{"enum": ["a", 1]}`: `"a" | 1`, `{"const": "a"}`: `"a"`,
		`{"properties": {"b": {"type": "string"}, "a c": {}}, "required": ["b"]}`:                                                        `{"a c"?: any, b: string}`,
		`{"type": "object", "properties": {"k": {"type": "string"}}, "additionalProperties": {"type": "integer"}}`:                       "{k: string, *: integer}",
		`{"allOf": [{"type": "string"}, {"format": "uri"}]}`:                                                                             "string and uri",
		`{"type": "array", "items": {"$ref": "#/$defs/T"}, "$defs": {"T": {"type": "object", "properties": {"x": {"type": "number"}}}}}`: "[{x: number}]",
		`{"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}`:                                                         "{next: in or null}",
		`{"$ref": "#/nowhere"}`: "any", `{"$ref": "#%"}`: "any", `{"$ref": "http://x"}`: "any", `{"$ref": "#"}`: "in",
		`{"minItems": {}, "maxItems": {}, "type": "array", "minimum": []}`: "[any]",
		`{"type": "\u001b[2J"}`: "\uFFFD[2J",
	} {
		if got, types := brief(json.RawMessage(schema), "in"); got != want || len(types) > 0 {
			t.Errorf("%s is %s, and %q; not %s", schema, got, types, want)
		}
	}
	got, types := brief(json.RawMessage(fileSchema), "in")
	want := "{data: base64, made: date-time, name: string, notes: {*: string}, owner: User or null, parent: in or null, " +
		"place: [number x 2], rest: any, size: integer >= 0, tags: [string]}"
	if got != want || len(types) != 1 || types[0] != "User = {boss: User or null, id: integer}" {
		t.Errorf("%s\nand %q", got, types)
	}
}

// A schema of a few lines can stand for a text of gigabytes.
func TestBriefLong(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"$ref": "#/$defs/t0", "$defs": {`)
	for i := range 60 {
		fmt.Fprintf(&b, `"t%d": {"properties": {"a": {"$ref": "#/$defs/t%d"}, "b": {"$ref": "#/$defs/t%d"}}},`, i, i+1, i+1)
	}
	b.WriteString(`"t60": {}}}`)
	if got, _ := brief(json.RawMessage(b.String()), "in"); len(got) > 2*mostOutline || !strings.Contains(got, "...") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestNear(t *testing.T) {
	names := []string{"count", "digest", "echo", "file.read", "file.write", "sum", "words"}
	for word, want := range map[string]string{
		"coutn": "count", "Count": "count", "cuont": "count", "eco": "echo", "sun": "sum", "word": "words", "read": "file.read",
		"file": "file.read file.write", "file.raed": "file.read", "nothing": "", "": "", "x": "",
	} {
		if got := strings.Join(near(word, names), " "); got != want {
			t.Errorf("%q: %q, not %q", word, got, want)
		}
	}
}

// FuzzSchema: whatever a server says of its methods, and whatever is held against it, ends in an answer.
func FuzzSchema(f *testing.F) {
	f.Add(fileSchema, `{"name": 3, "owner": {"boss": {}}}`)
	f.Add(`{"anyOf": [{"type": "string"}, {"type": ["array", "null"], "items": {"$ref": "#"}}]}`, `[["a"], 5]`)
	f.Add(`{"enum": [1, "a"], "const": 1, "prefixItems": [true, false], "required": ["a"], "minItems": 1}`, `1`)
	f.Fuzz(func(t *testing.T, text, value string) {
		if got, types := brief(json.RawMessage(text), "in"); len(got) > 2*mostOutline+len(text) || len(types) > len(text) {
			t.Errorf("%q becomes %d bytes, and %d types", text, len(got), len(types))
		}
		v, err := parseJSON([]byte(value))
		if err != nil {
			return
		}
		if s, err := newSchema(json.RawMessage(text)); err == nil {
			s.check(v)
			typed(v, s)
		}
	})
}
