package rpc

import (
	"fmt"

	"github.com/standpipe/standpipe/msg"
)

// A Raw is a value that is encoded already, or is not to be decoded yet: for programs that pass values on, or bring
// their own encoding. Sent, it is taken as it is; Codec says by what it was encoded, and nil leaves that to the connection. Received, it has
// the codec of the call and the bytes.
//
// The memory of a Raw that a unary handler gets is the handler's until it returns; the handler may return a Raw with the same memory.
// One that Call, Peer.Call and Stream.Recv return is the receiver's own; Release makes it free for further values.
type Raw struct {
	Codec Codec
	Data  []byte

	memory []byte // what Data is a part of, if it may be freed
}

// Decode decodes the value into v, a pointer.
func (r Raw) Decode(v any) error {
	if r.Codec == nil {
		return fmt.Errorf("rpc: a Raw without a codec can't be decoded")
	}
	return r.Codec.Unmarshal(r.Data, v)
}

// Release gives the memory back. It need not be called. Data must not be used any more then, nor that of copies.
func (r *Raw) Release() {
	msg.Free(r.memory)
	r.Data, r.memory = nil, nil
}

func (r *Raw) encoded(c Codec) ([]byte, error) {
	if r.Codec != nil && r.Codec.Name() != c.Name() {
		return nil, fmt.Errorf("the value is encoded by %s", r.Codec.Name())
	}
	return r.Data, nil
}

// take makes r the value, which is a part of *memory, or of what will be used again. It copies what r has room for or is small;
// otherwise *memory is taken.
func (r *Raw) take(c Codec, value []byte, memory *[]byte) {
	r.Codec = c
	if len(*memory) == 0 || cap(r.Data) >= len(value) {
		r.Data = append(r.Data[:0], value...)
		return
	}
	msg.Free(r.memory)
	r.Data, r.memory, *memory = value, *memory, nil
}
