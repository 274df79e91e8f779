package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schema is a JSON Schema of a server, ready to hold values against.
type schema struct {
	text     json.RawMessage
	doc      any // the text, parsed
	compiled *jsonschema.Schema
}

const schemaURL = "schema:///in" // where its parts are found, in errors

var english = message.NewPrinter(language.English)

// newSchema makes a schema usable. The text is not to be trusted: it refers to nothing but itself, or it is refused.
func newSchema(text json.RawMessage) (*schema, error) {
	doc, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no scheme: a server must not make this program open files
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(schemaURL)
	return &schema{text, doc, compiled}, err
}

// parseJSON is one JSON value, its numbers as they were written.
func parseJSON(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return v, sizable(v)
}

// sizable refuses numbers that nothing can count with, and that would take an exact one long.
func sizable(v any) error {
	switch v := v.(type) {
	case json.Number:
		if _, exponent, ok := strings.Cut(strings.ToLower(v.String()), "e"); ok {
			if n, err := strconv.Atoi(exponent); err != nil || n > 9999 || n < -9999 {
				return fmt.Errorf("the number %.40s is beyond all measure", v)
			}
		}
	case []any:
		for _, item := range v {
			if err := sizable(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, field := range v {
			if err := sizable(field); err != nil {
				return err
			}
		}
	}
	return nil
}

const mostFaults = 5 // that are told at once

// check says what of v does not fit the schema, each thing with its place; nil: nothing.
func (s *schema) check(v any) error {
	err := s.compiled.Validate(v)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var faults []string
	for _, e := range leaves(invalid) {
		faults = append(faults, s.fault(v, e))
	}
	slices.Sort(faults) // maps have no order
	faults = slices.Compact(faults)
	if more := len(faults) - mostFaults; more > 0 {
		faults = append(faults[:mostFaults], fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(faults, "; "))
}

// leaves are the errors that say something. Of alternatives, those of the wrong type are left out where one has the right type:
// what is wrong with that one is of interest.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	causes := e.Causes
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		var right []*jsonschema.ValidationError
		var want []string
		for _, c := range causes {
			if t := otherType(c, len(e.InstanceLocation)); t != nil {
				want = append(want, t.Want...)
			} else {
				right = append(right, c)
			}
		}
		if len(right) == 0 {
			all := *e
			slices.Sort(want)
			all.ErrorKind, all.Causes = &kind.Type{Want: slices.Compact(want)}, nil
			return []*jsonschema.ValidationError{&all}
		}
		causes = right
	}
	var list []*jsonschema.ValidationError
	for _, c := range causes {
		list = append(list, leaves(c)...)
	}
	return list
}

// otherType is set where all that e says is that the value at this depth has another type.
func otherType(e *jsonschema.ValidationError, depth int) *kind.Type {
	for len(e.Causes) == 1 {
		e = e.Causes[0]
	}
	if t, ok := e.ErrorKind.(*kind.Type); ok && len(e.InstanceLocation) == depth {
		return t
	}
	return nil
}

// fault is an error in words: the place in v, what is there, and what was expected.
func (s *schema) fault(v any, e *jsonschema.ValidationError) string {
	place, at := locate(v, e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("%s is %s, not %s", place, briefly(at), typeNames(k.Want))
	case *kind.AdditionalProperties:
		known := s.fields(e.SchemaURL)
		slices.Sort(k.Properties)
		var list []string
		for _, name := range k.Properties {
			list = append(list, fmt.Sprintf("%s has no field %q%s", place, name, suggest(name, known)))
		}
		if len(known) > 0 {
			list = append(list, "its fields are "+strings.Join(known, ", "))
		}
		return strings.Join(list, ", ")
	case *kind.Required:
		slices.Sort(k.Missing)
		return fmt.Sprintf("%s lacks %s", place, strings.Join(k.Missing, ", "))
	case *kind.Minimum:
		return fmt.Sprintf("%s is %s, below %s", place, briefly(at), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("%s is %s, above %s", place, briefly(at), k.Want.RatString())
	case *kind.MinItems:
		return fmt.Sprintf("%s has %d values, not %d or more", place, k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("%s has %d values, not %d or fewer", place, k.Got, k.Want)
	case *kind.ContentEncoding:
		return fmt.Sprintf("%s is no %s: %v", place, k.Want, k.Err)
	case *kind.Format:
		return fmt.Sprintf("%s is %s, no %s: %v", place, briefly(at), k.Want, k.Err)
	}
	return fmt.Sprintf("%s: %s", place, e.ErrorKind.LocalizedString(english))
}

// locate is a place in v in words, such as list[2].name, and what is there.
func locate(v any, path []string) (place string, at any) {
	var b strings.Builder
	for _, step := range path {
		switch inner := v.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(inner) {
				return b.String(), nil
			}
			fmt.Fprintf(&b, "[%d]", i)
			v = inner[i]
		case map[string]any:
			switch {
			case !isWord(step):
				fmt.Fprintf(&b, "[%q]", step)
			case b.Len() > 0:
				b.WriteString("." + step)
			default:
				b.WriteString(step)
			}
			v = inner[step]
		}
	}
	if b.Len() == 0 {
		return "the value", v
	}
	return b.String(), v
}

// fields are the names that the object schema at url allows, sorted.
func (s *schema) fields(url string) []string {
	_, fragment, _ := strings.Cut(url, "#")
	object, _ := pointed(s.doc, fragment)
	properties, _ := at(object, "properties").(map[string]any)
	return sortedKeys(properties)
}

// briefly is a value as an error shows it: as it is, or what kind of thing it is, where that is long.
func briefly(v any) string {
	const most = 40
	if text, err := json.Marshal(v); err == nil && len(text) <= most {
		return string(text)
	}
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("a string of %d bytes", len(v))
	case []any:
		return fmt.Sprintf("an array of %d values", len(v))
	case map[string]any:
		return fmt.Sprintf("an object of %d fields", len(v))
	}
	return fmt.Sprintf("%.*s...", most, fmt.Sprint(v)) // a number
}

// typeNames is a list of JSON's types in words. null is left out where there is another: all that takes an array takes null.
func typeNames(names []string) string {
	var list []string
	for _, name := range names {
		switch {
		case name == "null" && len(names) > 1:
		case name == "null":
			list = append(list, name)
		case strings.Contains("aio", name[:1]): // array, integer, object
			list = append(list, "an "+name)
		default:
			list = append(list, "a "+name)
		}
	}
	return strings.Join(list, " or ")
}
