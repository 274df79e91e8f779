package msg_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/msg"
)

// dialer is the vectors' side of a connection. It knows nothing of the code that the vectors test, but for package mem, which makes
// and maps memory.
type dialer struct {
	t      testing.TB
	v      msg.Vector
	c      *standpipe.Conn
	events chan event // closed at the end
	seen   []event

	// Of who sends:
	mine   *mem.Segment // the area
	window uint64
	ring   bool // the stream goes there

	// Of who receives:
	files    []*os.File
	segments map[uint32]*mem.Segment
	theirs   *mem.Segment
	heard    bool   // the listener's stream is in its area
	tail     uint64 // of that
	in       []byte
}

// event is a frame of the listener's.
type event struct {
	what    string // message, release, retire, area, ring, abort
	data    []byte
	buffers [][]byte
}

const patience = 10 * time.Second

// newDialer begins to receive. mine is used by it, too, so it is made before.
func newDialer(t testing.TB, c *standpipe.Conn, v msg.Vector) *dialer {
	d := &dialer{t: t, v: v, c: c, events: make(chan event, 4096), segments: map[uint32]*mem.Segment{}, window: v.Number(t, "window")}
	for _, w := range d.list("files") {
		if strings.HasSuffix(w, " area") && d.mine == nil {
			d.mine = d.makeArea(w)
		}
	}
	go d.receive()
	return d
}

func (d *dialer) list(key string) []string {
	if d.v.Head[key] == "" {
		return nil
	}
	return strings.Split(d.v.Head[key], ", ")
}

// hello is the dialer's, by the vector's header.
func (d *dialer) hello() []byte {
	text := strings.ReplaceAll(d.v.Head["hello"], "KIND", mem.Kind)
	return []byte("standpipe 1\n" + strings.ReplaceAll(text, " | ", "\n") + "\n\n")
}

// play sends the vector. An error is the connection's end.
func (d *dialer) play() error {
	d.c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := d.c.Write(d.hello()); err != nil {
		return err
	}
	files, waits := map[int][]string{}, map[int]string{}
	cuts := []int{len(d.v.Body)}
	for _, f := range d.list("files") {
		at, what := d.cut(f)
		files[at] = append(files[at], what)
		cuts = append(cuts, at)
	}
	for _, w := range d.list("waits") {
		at, what := d.cut(w)
		waits[at] = what
		cuts = append(cuts, at)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	if cuts[0] > 0 {
		if _, err := d.c.Write(d.v.Body[:cuts[0]]); err != nil {
			return err
		}
	}
	for i, at := range cuts[:len(cuts)-1] {
		if what := waits[at]; what != "" && !d.await(func(e event) bool { return e.what == what }) {
			return io.ErrUnexpectedEOF
		}
		if err := d.write(d.v.Body[at:cuts[i+1]], files[at]); err != nil {
			return err
		}
	}
	for b := d.v.Body; len(b) >= 8; b = b[min(len(b), 8+int(binary.LittleEndian.Uint32(b))):] {
		d.ring = d.ring || b[4] == 6
	}
	return nil
}

// cut is the number at the beginning of an item, and the rest.
func (d *dialer) cut(item string) (int, string) {
	number, rest, _ := strings.Cut(item, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > len(d.v.Body) && rest != "area" {
		d.t.Fatalf("%q, and the body has %d bytes: %v", item, len(d.v.Body), err)
	}
	return n, rest
}

func (d *dialer) write(b []byte, kinds []string) error {
	if len(kinds) == 0 {
		_, err := d.c.Write(b)
		return err
	}
	var files []*os.File
	for _, k := range kinds {
		f := d.file(k)
		defer f.Close()
		files = append(files, f)
	}
	_, err := d.c.WriteHandles(b, files...)
	return err
}

// file is one of "SIZE HOW".
func (d *dialer) file(what string) *os.File {
	number, how, _ := strings.Cut(what, " ")
	size, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	switch how {
	case "sealed":
		s, err := mem.Create(size)
		if err != nil {
			d.t.Fatal(err)
		}
		defer s.Close()
		copy(s.Bytes(), filler(int(min(size, 65536))))
		return s.Take()
	case "area":
		if d.mine != nil && int64(len(d.mine.Bytes())) == size {
			if f := d.mine.Take(); f != nil {
				return f
			}
		}
		s := d.makeArea("0 " + what) // a second one
		defer s.Close()
		return s.Take()
	case "file":
		f, err := os.Create(filepath.Join(d.t.TempDir(), "file"))
		if err == nil {
			err = f.Truncate(size)
		}
		if err != nil {
			d.t.Fatal(err)
		}
		return f
	case "pipe":
		r, w, err := os.Pipe()
		if err != nil {
			d.t.Fatal(err)
		}
		w.Close()
		return r
	}
	return sealedBy(d.t, size, how)
}

// makeArea is one of "AT SIZE area", with what the vector says.
func (d *dialer) makeArea(what string) *mem.Segment {
	size, err := strconv.ParseInt(strings.Fields(what)[1], 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	s, err := mem.Create(size)
	if err != nil {
		d.t.Fatal(err)
	}
	for key, at := range map[string]int{"head": 0, "window": 8, "tail": 128} {
		binary.LittleEndian.PutUint64(s.Bytes()[at:], d.v.Number(d.t, key))
	}
	for key, at := range map[string]int{"parked": 256, "waiting": 384} {
		binary.LittleEndian.PutUint32(s.Bytes()[at:], uint32(d.v.Number(d.t, key)))
	}
	copy(s.Bytes()[4096:], d.v.Area)
	return s
}

// send sends a frame when the vector was played, where the stream is by then.
func (d *dialer) send(b []byte) {
	if d.ring {
		head := field(d.mine, 0)
		at := head.Load()
		for i, c := range b {
			d.mine.Bytes()[4096+(at+uint64(i))&(d.window-1)] = c
		}
		head.Store(at + uint64(len(b)))
		b = []byte{0, 0, 0, 0, 7, 0, 0, 0}
	}
	if _, err := d.c.Write(b); err != nil {
		d.t.Error(err)
	}
}

// await waits for an event, among those that have come, and says whether it came before the end.
func (d *dialer) await(is func(event) bool) bool {
	if slices.ContainsFunc(d.seen, is) {
		return true
	}
	timeout := time.After(patience)
	for {
		select {
		case e, ok := <-d.events:
			if !ok {
				return false
			}
			if d.seen = append(d.seen, e); is(e) {
				return true
			}
		case <-timeout:
			d.t.Fatalf("it does not come; there were %v", d.seen)
		}
	}
}

func (d *dialer) received(what string) *event {
	for i := range d.seen {
		if d.seen[i].what == what {
			return &d.seen[i]
		}
	}
	return nil
}

// close ends the connection, and gives up all memory when nobody receives any more.
func (d *dialer) close() {
	d.c.Close()
	d.await(func(event) bool { return false })
	for _, s := range append([]*mem.Segment{d.mine, d.theirs}, d.values()...) {
		if s != nil {
			s.Close()
		}
	}
	for _, f := range d.files {
		f.Close()
	}
}

func (d *dialer) values() (list []*mem.Segment) {
	for _, s := range d.segments {
		list = append(list, s)
	}
	return list
}

func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func field(s *mem.Segment, at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&s.Bytes()[at]))
}

// ---- what comes

func (d *dialer) receive() {
	defer close(d.events)
	greeted := false
	buf := make([]byte, 64<<10)
	for {
		if d.heard {
			d.takeRing()
			parked := (*atomic.Uint32)(unsafe.Pointer(&d.mine.Bytes()[256]))
			parked.Store((parked.Load() | 1) + 2) // another odd value: ring for it
			d.takeRing()
		}
		n, files, err := d.read(buf)
		d.files = append(d.files, files...)
		b := append(d.in, buf[:n]...)
		if d.heard { // the rest of a frame is in the ring
			b = buf[:n]
		}
		if i := bytes.Index(b, []byte("\n\n")); !greeted && i >= 0 {
			greeted = true
			b = b[i+2:]
		}
		if greeted {
			b = d.frames(b)
		}
		if !d.heard {
			d.in = slices.Clone(b)
		}
		if d.heard {
			d.takeRing()
		}
		if err != nil {
			return
		}
	}
}

func (d *dialer) read(b []byte) (int, []*os.File, error) {
	if mem.Kind == "section" { // memory comes as a value
		n, err := d.c.Read(b)
		return n, nil, err
	}
	return d.c.ReadHandles(b)
}

// takeRing takes what is in the listener's area.
func (d *dialer) takeRing() {
	head, window := field(d.theirs, 0).Load(), field(d.theirs, 8).Load()
	for ; d.tail < head; d.tail++ {
		d.in = append(d.in, d.theirs.Bytes()[4096+d.tail&(window-1)])
	}
	field(d.mine, 128).Store(d.tail)
	d.in = slices.Clone(d.frames(d.in))
}

// frames takes whole frames, and returns the rest.
func (d *dialer) frames(b []byte) []byte {
	for len(b) >= 8 {
		end := 8 + int(binary.LittleEndian.Uint32(b))
		if len(b) < end || d.heard && b[4] == 1 && d.overtakes(b[8:8+16*int(b[6])]) {
			break
		}
		d.events <- d.frame(b[4], int(b[6]), slices.Clone(b[8:end]))
		b = b[end:]
	}
	return b
}

// overtakes says whether references in the ring are to segments that are on their way over the connection yet.
func (d *dialer) overtakes(refs []byte) bool {
	for ; len(refs) > 0; refs = refs[16:] {
		if n := binary.LittleEndian.Uint32(refs[8:]); n != 0 && d.segments[n] == nil {
			return true
		}
	}
	return false
}

func (d *dialer) frame(kind byte, buffers int, b []byte) event {
	switch kind {
	case 1:
		e := event{what: "message"}
		refs, rest := b[:16*buffers], b[16*buffers:]
		inside := len(rest)
		for i := 0; i < len(refs); i += 16 {
			if binary.LittleEndian.Uint64(refs[i+8:]) == 0 {
				inside -= int(binary.LittleEndian.Uint64(refs[i:]))
			}
		}
		e.data, rest = rest[:inside], rest[inside:]
		for ; len(refs) > 0; refs = refs[16:] {
			size, number := int(binary.LittleEndian.Uint64(refs)), binary.LittleEndian.Uint64(refs[8:])
			switch s := d.segments[uint32(number)]; {
			case number == 0:
				e.buffers, rest = append(e.buffers, rest[:size]), rest[size:]
			case s == nil || number > 1<<32:
				return event{what: fmt.Sprintf("segment %d, which is not known", number)}
			default:
				e.buffers = append(e.buffers, slices.Clone(s.Bytes()[:size]))
			}
		}
		return e
	case 2:
		return event{what: "abort", data: b}
	case 3:
		return d.segment(b)
	case 4:
		return event{what: "release", data: b}
	case 5:
		return event{what: "retire", data: b}
	case 6:
		d.heard = true
		return event{what: "ring"}
	case 7:
		return event{what: "bell"}
	}
	return event{what: fmt.Sprintf("kind %d", kind)}
}

func (d *dialer) segment(b []byte) event {
	var f *os.File
	var err error
	if mem.Kind == "section" {
		f, err = d.c.ImportHandle(binary.LittleEndian.Uint64(b[16:]))
	} else if len(d.files) > 0 {
		f, d.files = d.files[0], d.files[1:]
	} else {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return event{what: "segment without memory: " + err.Error()}
	}
	s, err := mem.Map(f, int64(binary.LittleEndian.Uint64(b[8:])))
	if err != nil {
		return event{what: "segment: " + err.Error()}
	}
	if binary.LittleEndian.Uint32(b[4:]) == 1 {
		d.theirs = s
		return event{what: "area"}
	}
	d.segments[binary.LittleEndian.Uint32(b)] = s
	return event{what: "segment"}
}
