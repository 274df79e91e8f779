package rpc

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
)

type planInner struct {
	On   bool     `json:"on,omitempty"`
	F    float32  `json:"f"`
	Tags []string `json:"tags,omitempty"`
}

type (
	planKind uint8
	planID   uint64
)

// planAll has every kind of field that a plan takes.
type planAll struct {
	ID      planID `json:"id"`
	Name    string `json:"name"`
	Data    []byte `json:"data"`
	Plain   int
	I8      int8      `json:"i8"`
	I16     int16     `json:"i16,omitempty"`
	I32     int32     `json:"i32"`
	I64     int64     `json:"i64"`
	U       uint      `json:"u"`
	U8      planKind  `json:"u8"`
	U16     uint16    `json:"u16"`
	U32     uint32    `json:"u32,omitempty"`
	F64     float64   `json:"f64"`
	Vector  []float32 `json:"vector"`
	Numbers []int     `json:"numbers,omitempty"`
	Nested  planInner `json:"nested"`
	List    []planInner
	Grid    [][]int16 `json:"grid"`
	Hidden  int       `json:"-"`
	Ok      bool      `json:"ok"`
}

// laden has Buffers.
type planLaden struct {
	A    msg.Buffer
	List []struct{ B msg.Buffer }
	C    msg.Buffer `json:"c,omitempty"`
}

// planned are the types of the tests below, each as a new pointer.
var planned = []func() any{
	func() any { return new(planAll) }, func() any { return new(planInner) }, func() any { return new([]float64) }, func() any { return new([]string) },
	func() any { return new(string) }, func() any { return new([]byte) }, func() any { return new(int) }, func() any { return new(uint32) },
	func() any { return new(struct{}) }, func() any { return new([][]byte) }, func() any { return new(bool) }, func() any { return new(float32) },
	func() any { return new(planLaden) },
}

// Types whose values the library has to do: what they hold may be said in another way, or have no bounds.
func TestUnplanned(t *testing.T) {
	type self struct{ Kids []self }
	type embeds struct{ planInner }
	type quoted struct {
		N int `json:"n,string"`
	}
	type array struct {
		_struct bool `codec:",toarray"`
		N       int
	}
	_ = array{}._struct
	for _, v := range []any{self{}, embeds{}, quoted{}, array{}, time.Time{}, []time.Time{}, map[string]int{}, struct{ P *int }{}, struct{ A any }{}, [2]int{}, struct{ B map[string]int }{}} {
		if planOf(reflect.TypeOf(v), nil) != nil {
			t.Errorf("%T has a plan", v)
		}
	}
}

// randomize fills a value with numbers of all sizes, and strings and slices of all lengths.
func randomize(r *rand.Rand, v reflect.Value, depth int) {
	switch {
	case v.CanInt():
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case v.CanUint():
		v.SetUint(r.Uint64() >> r.IntN(64))
	case v.CanFloat():
		v.SetFloat(math.Float64frombits(r.Uint64() &^ (1 << 62)))
	}
	if v.Type() == typeBuffer {
		if r.IntN(2) == 0 {
			v.Set(reflect.ValueOf(msg.MarkedBuffer(r.IntN(255))))
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.String:
		v.SetString(string(bytes.Repeat([]byte{'x'}, length(r, depth))))
	case reflect.Slice:
		if r.IntN(4) > 0 {
			n := length(r, depth+1)
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				randomize(r, v.Index(i), depth+1)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Tag.Get("json") != "-" && r.IntN(8) > 0 {
				randomize(r, f, depth)
			}
		}
	}
}

func length(r *rand.Rand, depth int) int {
	lengths := []int{0, 1, 5, 15, 16, 31, 32, 255, 256, 70_000}
	return lengths[r.IntN(max(3, len(lengths)-4*depth))]
}

// A plan writes what the library writes, and each reads what the other has written.
func TestPlansAreTheLibrarys(t *testing.T) {
	m := MessagePack.(*msgpackCodec)
	r := rand.New(rand.NewPCG(1, 2))
	for _, fresh := range planned {
		p := formOf(reflect.TypeOf(fresh())).plan
		if p == nil {
			t.Fatalf("%T has no plan", fresh())
		}
		for range 300 {
			v := fresh()
			randomize(r, reflect.ValueOf(v).Elem(), 0)
			at := reflect.ValueOf(v).UnsafePointer()
			own := p.enc([]byte("before"), at)
			library, err := m.encode([]byte("before"), v)
			if err != nil || !bytes.Equal(own, library) {
				at := 0
				for at < min(len(own), len(library)) && own[at] == library[at] {
					at++
				}
				t.Fatalf("%T: at %d it is %.20x, and by the library %.20x, %v", v, at, own[at:], library[min(at, len(library)):], err)
			}
			value := own[len("before"):]
			back, by := fresh(), fresh()
			if rest, ok := p.dec(value, reflect.ValueOf(back).UnsafePointer()); !ok || len(rest) > 0 {
				t.Fatalf("%#v\nas %x\nis not read", v, value)
			}
			if err := m.decode(value, by); err != nil || !same(back, by) {
				t.Fatalf("%x\nis %#v\nand by the library %#v, %v", value, back, by, err)
			}
		}
	}
}

// same compares also NaNs, by what they are encoded as.
func same(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, _ := MessagePack.(*msgpackCodec).encode(nil, a)
	y, _ := MessagePack.(*msgpackCodec).encode(nil, b)
	return bytes.Equal(x, y)
}

// What a plan reads of bytes that anybody may have sent is what the library reads of them, and the memory that it takes has been paid for.
func FuzzPlan(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for i, fresh := range planned {
		for range 4 {
			v := fresh()
			randomize(r, reflect.ValueOf(v).Elem(), 3)
			b, err := MessagePack.Append(nil, v)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(i), b)
		}
	}
	f.Add(byte(2), []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add(byte(1), []byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add(byte(5), []byte{0xc6, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		fresh := planned[int(which)%len(planned)]
		v := fresh()
		p := formOf(reflect.TypeOf(v)).plan
		if rest, ok := p.dec(b, reflect.ValueOf(v).UnsafePointer()); !ok || len(rest) > 0 {
			return
		}
		if err := scan(b); err != nil {
			t.Fatalf("%T was read from %x: %v", v, b, err)
		}
		by := fresh()
		if err := MessagePack.(*msgpackCodec).decode(b, by); err != nil || !same(v, by) {
			t.Fatalf("%x\nis %#v\nand by the library %#v, %v", b, v, by, err)
		}
	})
}

// A struct with fields that it does not know, or of other kinds, is still read, by the library.
func TestPlanGivesWay(t *testing.T) {
	for name, b := range map[string][]byte{
		"unknown": []byte("\x82\xa1x\x01\xa1f\xca\x00\x00\x00\x00"),
		"double":  []byte("\x81\xa1f\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
		"str8":    []byte("\x81\xd9\x01f\xca\x00\x00\x00\x00"),
		"nil":     []byte("\x81\xa2on\xc0"),
	} {
		if err := MessagePack.Unmarshal(b, new(planInner)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := MessagePack.Append(nil, &planLaden{A: msg.MarkedBuffer(-1)}); err == nil {
		t.Errorf("a Buffer without a place is %x", b)
	}
	for name, b := range map[string][]byte{"cut off": []byte("\x82\xa1f\xca\x00\x00\x00\x00"), "behind it": []byte("\x80\x01"), "deep": bytes.Repeat([]byte{0x91}, 200)} {
		if err := MessagePack.Unmarshal(b, new(planInner)); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}
