// Package mem makes memory that another process can map: nameless, so that the kernel frees it whatever dies, of a size that
// nobody can change, and readable only for the one who receives it. spec/memory.md, 4.2.
package mem

import (
	"errors"
	"fmt"
	"os"
)

// A Segment is memory that is shared, as one of the two sides sees it: its maker, who may write, or the receiver. The
// methods are not safe for concurrent use, but for Bytes.
type Segment struct {
	bytes []byte
	file  *os.File // to be handed over; of a maker, until Take
}

// Least is the size of the smallest segment. Sizes are multiples of it.
const Least = 4096

// Most is the size of the largest.
const Most = 1<<32 - Least

var errSize = fmt.Errorf("a segment has from %d to %d bytes, in multiples of %d", Least, int64(Most), Least)

// ErrNotSealed: what was received is no memory of a size that stays, or not as large as was said.
var ErrNotSealed = errors.New("it is no sealed segment of that size")

// Create makes a segment of size bytes, all 0.
func Create(size int64) (*Segment, error) {
	if size < Least || size > Most || size%Least != 0 {
		return nil, errSize
	}
	s, err := create(int(size))
	if err != nil {
		return nil, fmt.Errorf("can't make a segment of %d bytes: %w", size, err)
	}
	return s, nil
}

// Map maps what was received, for reading, and closes f. It is refused where size is not true, or could become untrue.
func Map(f *os.File, size int64) (*Segment, error) {
	defer f.Close()
	if size < Least || size > Most || size%Least != 0 {
		return nil, errSize
	}
	s, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("can't map a segment of %d bytes: %w", size, err)
	}
	return s, nil
}

// Take is what is to be handed over; it is the caller's to close, and the memory stays. It can be taken once.
func (s *Segment) Take() *os.File {
	f := s.file
	s.file = nil
	return f
}

// Bytes is the memory. It must not be touched after Close: the program would die.
func (s *Segment) Bytes() []byte { return s.bytes }

// Close ends this side's view. The other side's stays.
func (s *Segment) Close() {
	if f := s.Take(); f != nil {
		f.Close()
	}
	if s.bytes != nil {
		unmap(s.bytes)
		s.bytes = nil
	}
}

// Protect makes every access to the memory a fault, or undoes that. It is for finding those who use what is not theirs any more.
func (s *Segment) Protect(on, writable bool) {
	if s.bytes != nil {
		protect(s.bytes, on, writable)
	}
}
