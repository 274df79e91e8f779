package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// outline renders JSON Schemas as types are written in short: {name: string, tags: [string]}. What they hold is not to be
// trusted: references that go round in circles become names, and no text becomes longer than mostOutline by much.
type outline struct {
	root    any
	self    string            // what a reference to the whole is called
	open    map[string]bool   // references that are being rendered
	circles map[string]bool   // those that were found in themselves
	named   map[string]string // what they stand for
	length  int
}

const mostOutline = 10000

// brief is a schema in short, and the types that it needs names for, since they contain themselves, as "Name = ...".
func brief(text json.RawMessage, self string) (line string, types []string) {
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		return "any", nil
	}
	o := outline{root: doc, self: self, open: map[string]bool{"": true}, circles: map[string]bool{}, named: map[string]string{}}
	line = o.of(doc)
	for _, ref := range sortedKeys(o.named) {
		types = append(types, o.name(ref)+" = "+o.named[ref])
	}
	return line, types
}

func (o *outline) of(s any) (text string) {
	if o.length > mostOutline {
		return "..."
	}
	defer func() { o.length += len(text) }()
	if allowed, ok := s.(bool); ok && !allowed {
		return "nothing"
	}
	if ref, ok := at(s, "$ref").(string); ok {
		return o.ref(strings.TrimPrefix(ref, "#"))
	}
	if value := at(s, "const"); value != nil {
		return asText(value)
	}
	if values, ok := at(s, "enum").([]any); ok {
		return either(values, asText, " | ")
	}
	for _, words := range [][2]string{{"anyOf", " or "}, {"oneOf", " or "}, {"allOf", " and "}} {
		if parts, ok := at(s, words[0]).([]any); ok {
			return either(parts, o.of, words[1])
		}
	}
	types := typesOf(s)
	if len(types) == 0 {
		return "any" + comment(s)
	}
	return either(types, func(name string) string { return o.typed(s, name) }, " or ")
}

// typesOf are the types that s names, or that its keywords tell. null beside another is left out, as in typeNames.
func typesOf(s any) (types []string) {
	switch t := at(s, "type").(type) {
	case string:
		return []string{t}
	case []any:
		for _, name := range t {
			if name, ok := name.(string); ok && (name != "null" || len(t) == 1) {
				types = append(types, name)
			}
		}
		return types
	}
	for _, hint := range [][2]string{{"properties", "object"}, {"items", "array"}, {"contentEncoding", "string"}, {"format", "string"}} {
		if at(s, hint[0]) != nil {
			return []string{hint[1]}
		}
	}
	return nil
}

// typed is s as a value of one type.
func (o *outline) typed(s any, name string) string {
	switch name {
	case "string":
		for _, key := range []string{"contentEncoding", "format"} {
			if what, ok := at(s, key).(string); ok {
				return plain(what)
			}
		}
	case "integer", "number":
		var limits []string
		for _, words := range [][2]string{{"minimum", ">="}, {"exclusiveMinimum", ">"}, {"maximum", "<="}, {"exclusiveMaximum", "<"}} {
			if limit := at(s, words[0]); limit != nil {
				limits = append(limits, words[1]+" "+asText(limit))
			}
		}
		return strings.TrimSpace(name + " " + strings.Join(limits, " "))
	case "array":
		return o.array(s)
	case "object":
		return o.object(s)
	}
	return plain(name)
}

func (o *outline) array(s any) string {
	if first, ok := at(s, "prefixItems").([]any); ok {
		var items []string
		for _, item := range first {
			items = append(items, o.of(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	item := "any"
	if items := at(s, "items"); items != nil {
		item = o.of(items)
	}
	if n, ok := at(s, "minItems").(float64); ok && at(s, "maxItems") == n {
		return fmt.Sprintf("[%s x %v]", item, n)
	}
	return "[" + item + "]"
}

func (o *outline) object(s any) string {
	properties, _ := at(s, "properties").(map[string]any)
	required, some := at(s, "required").([]any)
	var fields []string
	for _, name := range sortedKeys(properties) {
		mark := ""
		if some && !slices.Contains(required, any(name)) {
			mark = "?"
		}
		fields = append(fields, fieldName(name)+mark+": "+o.of(properties[name]))
	}
	switch other := at(s, "additionalProperties").(type) {
	case map[string]any:
		fields = append(fields, "*: "+o.of(other))
	case nil:
		if len(fields) == 0 {
			return "object" + comment(s)
		}
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// comment is what the server's author has to say of a type without structure.
func comment(s any) string {
	if text, ok := at(s, "$comment").(string); ok {
		return " (" + plain(text) + ")"
	}
	return ""
}

// ref is what a reference within the schema stands for; its name, where it contains itself.
func (o *outline) ref(pointer string) string {
	target, ok := pointed(o.root, pointer)
	switch {
	case !ok:
		return "any"
	case o.open[pointer]:
		o.circles[pointer] = true
		return o.name(pointer)
	case o.named[pointer] != "":
		return o.name(pointer)
	}
	o.open[pointer] = true
	text := o.of(target)
	delete(o.open, pointer)
	if !o.circles[pointer] {
		return text
	}
	o.named[pointer] = text
	return o.name(pointer)
}

func (o *outline) name(pointer string) string {
	if pointer == "" {
		return o.self
	}
	return plain(pointer[strings.LastIndex(pointer, "/")+1:])
}

// pointed is what a JSON Pointer, as it stands in a URL, leads to.
func pointed(doc any, pointer string) (any, bool) {
	if pointer == "" {
		return doc, true
	}
	pointer, err := url.PathUnescape(pointer)
	if err != nil || pointer[0] != '/' {
		return nil, false
	}
	for _, step := range strings.Split(pointer[1:], "/") {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		switch inner := doc.(type) {
		case map[string]any:
			var ok bool
			if doc, ok = inner[step]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(inner) {
				return nil, false
			}
			doc = inner[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// at is the field of an object, or nil.
func at(object any, key string) any {
	m, _ := object.(map[string]any)
	return m[key]
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// either is the texts of a list, each once.
func either[T any](list []T, text func(T) string, between string) string {
	var parts []string
	for _, item := range list {
		if part := text(item); !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, between)
}

func asText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "any"
	}
	return plain(string(b))
}

// plain is text of the other side without what could move a terminal's cursor.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func isWord(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

func fieldName(name string) string {
	if isWord(name) {
		return name
	}
	return asText(name)
}
