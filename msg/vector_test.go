package msg

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Vector is a file of spec/vectors/memory. spec/memory.md has the format.
type Vector struct {
	Name       string
	Head       map[string]string
	Body, Area []byte
}

// Vectors are those of one kind.
func Vectors(t testing.TB, what string) (list []Vector) {
	t.Helper()
	files, err := filepath.Glob("../spec/vectors/memory/*.txt")
	if err != nil || len(files) != mostVectors {
		t.Fatalf("%d vectors, %v; there should be %d", len(files), err, mostVectors)
	}
	for _, f := range files {
		v := readVector(t, f)
		switch v.Head["what"] {
		case "frame", "session", "area":
		default:
			t.Fatalf("%s: nobody runs a vector that is %q", v.Name, v.Head["what"])
		}
		if v.Head["what"] == what {
			list = append(list, v)
		}
	}
	return list
}

const mostVectors = 229

func readVector(t testing.TB, path string) Vector {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := Vector{Name: strings.TrimSuffix(filepath.Base(path), ".txt"), Head: map[string]string{}}
	blocks := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n\n")
	for line := range strings.Lines(blocks[0]) {
		k, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if _, twice := v.Head[k]; !ok || twice {
			t.Fatalf("%s: header line %q", v.Name, line)
		}
		v.Head[k] = value
	}
	if len(blocks) > 3 {
		t.Fatalf("%s has %d blocks", v.Name, len(blocks))
	}
	for i, block := range blocks[1:] {
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
			if err != nil {
				t.Fatal(v.Name, err)
			}
			if i == 0 {
				v.Body = append(v.Body, b...)
			} else {
				v.Area = append(v.Area, b...)
			}
		}
	}
	return v
}

// Number is what a key of the header says; 0 where it is missing.
func (v Vector) Number(t testing.TB, key string) uint64 {
	text, ok := v.Head[key]
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %s: %v", v.Name, key, err)
	}
	return n
}

// What a frame of spec/memory.md says is what was put into it, both ways.
func TestFrameVectors(t *testing.T) {
	for _, v := range Vectors(t, "frame") {
		t.Run(v.Name, func(t *testing.T) {
			if v.Head["expect"] != "same" {
				t.Fatalf("it expects %q", v.Head["expect"])
			}
			var parsed string
			var made []byte
			switch kind := v.Head["kind"]; kind {
			case "reference":
				h := header{length: uint32(len(v.Body) + 5), kind: kindMessage, buffers: 1}
				_, refs, err := parseRefs(v.Body, h, limits{message: leastData, buffers: 1 << 20, shared: true})
				if err != nil {
					t.Fatal(err)
				}
				parsed = fmt.Sprintf("number: %d size: %d", refs[0].segment, refs[0].size)
				made = appendRef(nil, ref{size: int(v.Number(t, "size")), segment: uint32(v.Number(t, "number"))})
			default:
				parsed, made = frameVector(t, v)
			}
			want := ""
			for _, k := range []string{"number", "numbers", "use", "size", "handle"} {
				if value, ok := v.Head[k]; ok {
					want += k + ": " + value + " "
				}
			}
			if want = strings.TrimSpace(want); parsed != want {
				t.Errorf("it says %q, and not %q", parsed, want)
			}
			if !bytes.Equal(made, v.Body) {
				t.Errorf("made:\n% x\nand not:\n% x", made, v.Body)
			}
		})
	}
}

// frameVector is what a frame says, and the frame that is made from the header's fields.
func frameVector(t *testing.T, v Vector) (parsed string, made []byte) {
	h, err := parseHeader(v.Body, limits{message: leastData, shared: true})
	if err != nil || int(h.length) != len(v.Body)-headerSize {
		t.Fatalf("%+v, %v", h, err)
	}
	kinds := map[string]uint8{"segment": kindSegment, "release": kindRelease, "retire": kindRetire, "ring": kindRing, "bell": kindBell}
	kind, known := kinds[v.Head["kind"]]
	if !known || h.kind != kind {
		t.Fatalf("kind %d is no %q", h.kind, v.Head["kind"])
	}
	rest := v.Body[headerSize:]
	switch kind {
	case kindSegment:
		f, err := parseSegment(rest)
		if err != nil {
			t.Fatal(err)
		}
		use := 0
		if f.ring {
			use = 1
		}
		parsed = fmt.Sprintf("number: %d use: %d size: %d handle: %d", f.number, use, f.size, f.handle)
		made = segmentFrame{uint32(v.Number(t, "number")), v.Head["use"] == "1", v.Number(t, "size"), v.Number(t, "handle")}.append(nil)
	case kindRelease, kindRetire:
		parsed = "numbers:"
		for ; len(rest) > 0; rest = rest[4:] {
			parsed += fmt.Sprint(" ", binary.LittleEndian.Uint32(rest))
		}
		var numbers []uint32
		for f := range strings.FieldsSeq(v.Head["numbers"]) {
			n, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, uint32(n))
		}
		made = appendNumbers(nil, kind, numbers...)
	case kindBell:
		made = bell
	default:
		made = appendHeader(nil, header{kind: kind})
	}
	return parsed, made
}
