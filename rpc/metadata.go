package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Metadata travels beside the values of a call: from the caller with the call, and back as a header, before the first
// value, and as a trailer, behind the last. A key is 1 to 64 of a-z, 0-9, '-', '_' and '.', and may have several values, of
// any bytes. All of it has at most 64 values and 16 KiB.
type Metadata map[string][]string

const (
	maxMetadata = 16 << 10
	maxEntries  = 64
	maxKey      = 64
)

// check refuses what can't travel.
func (md Metadata) check() error {
	if len(md) == 0 {
		return nil
	}
	size, count := 0, 0
	for k, values := range md {
		if !validMetaKey(k) {
			return fmt.Errorf("rpc: the metadata key %q is not 1 to %d of a-z, 0-9, '-', '_' and '.'", k, maxKey)
		}
		for _, v := range values {
			count++
			size += 3 + len(k) + len(v)
		}
	}
	if count > maxEntries || size > maxMetadata {
		return fmt.Errorf("rpc: the metadata has %d values and %d bytes; at most %d and %d can travel", count, size, maxEntries, maxMetadata)
	}
	return nil
}

func validMetaKey[T string | []byte](k T) bool {
	for i := range len(k) {
		c := k[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return len(k) >= 1 && len(k) <= maxKey
}

// with is md and more, a new map.
func (md Metadata) with(more Metadata) Metadata {
	all := make(Metadata, len(md)+len(more))
	for k, v := range md {
		all[k] = slices.Clip(v)
	}
	for k, v := range more {
		all[k] = append(all[k], v...)
	}
	return all
}

// appendMetadata appends a block; md was checked.
func appendMetadata(b []byte, md Metadata) []byte {
	at := len(b)
	b = append(b, 0, 0)
	for _, k := range slices.Sorted(maps.Keys(md)) {
		for _, v := range md[k] {
			b = append(b, uint8(len(k)))
			b = append(b, k...)
			b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
			b = append(b, v...)
		}
	}
	binary.LittleEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}

var errMetadata = errors.New("a metadata block is longer than what is there, or than its limit, or not filled by its entries")

// cutMetadata takes a block from the beginning of b, and checks it.
func cutMetadata(b []byte) (block, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errMetadata
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n > maxMetadata || len(b)-2 < n {
		return nil, nil, errMetadata
	}
	block, rest = b[2:2+n], b[2+n:]
	count := 0
	for left := block; len(left) > 0; count++ {
		k, _, after, ok := cutEntry(left)
		if !ok || !validMetaKey(k) || count == maxEntries {
			return nil, nil, errMetadata
		}
		left = after
	}
	return block, rest, nil
}

func cutEntry(b []byte) (k, v, rest []byte, ok bool) {
	n := int(b[0])
	if len(b) < 1+n+2 {
		return nil, nil, nil, false
	}
	k, b = b[1:1+n], b[1+n:]
	n = int(binary.LittleEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, nil, false
	}
	return k, b[2 : 2+n], b[2+n:], true
}

// parseMetadata reads a block that was checked. It copies. It is nil for no block.
func parseMetadata(block []byte) Metadata {
	if len(block) == 0 {
		return nil
	}
	md := Metadata{}
	for len(block) > 0 {
		k, v, rest, _ := cutEntry(block)
		md[string(k)] = append(md[string(k)], string(v))
		block = rest
	}
	return md
}

// outgoingKey is where a context has an *outgoingInfo.
type outgoingKey struct{}

// outgoingInfo is what a context says of the calls that are made with it.
type outgoingInfo struct {
	meta            Metadata
	header, trailer *Metadata
	codec           Codec
}

func outgoingOf(ctx context.Context) outgoingInfo {
	if o, ok := ctx.Value(outgoingKey{}).(*outgoingInfo); ok {
		return *o
	}
	return outgoingInfo{}
}

// WithMetadata makes a context whose calls and streams carry md, besides what ctx has. What can't travel makes them fail with
// InvalidArgument. The metadata of a handler's context is not passed on by itself.
func WithMetadata(ctx context.Context, md Metadata) context.Context {
	o := outgoingOf(ctx)
	o.meta = o.meta.with(md)
	return context.WithValue(ctx, outgoingKey{}, &o)
}

// WithReply makes a context for one Call, which sets *header and *trailer to what the handler sent, also where it failed.
// Either may be nil. For streams see Stream.Header and Stream.Trailer.
func WithReply(ctx context.Context, header, trailer *Metadata) context.Context {
	o := outgoingOf(ctx)
	o.header, o.trailer = header, trailer
	return context.WithValue(ctx, outgoingKey{}, &o)
}

// MetadataFrom, in a handler, is what the caller sent. It is a copy.
func MetadataFrom(ctx context.Context) Metadata {
	c := callFrom(ctx)
	if c == nil {
		return nil
	}
	if m := c.more.Load(); m != nil {
		return parseMetadata(m.meta)
	}
	return nil
}

var errNoHandler = errors.New("rpc: the context is not a handler's")

// SetHeader, in a handler, adds to the header of the answer. It leaves with the first value, or the end. It is an error
// when it has left, and where md can't travel.
func SetHeader(ctx context.Context, md Metadata) error {
	return setMetadata(ctx, md, func(r *replyMetadata) *Metadata { return &r.header })
}

// SetTrailer, in a handler, adds to the trailer of the answer.
func SetTrailer(ctx context.Context, md Metadata) error {
	return setMetadata(ctx, md, func(r *replyMetadata) *Metadata { return &r.trailer })
}

func setMetadata(ctx context.Context, md Metadata, of func(*replyMetadata) *Metadata) error {
	c := callFrom(ctx)
	if c == nil {
		return errNoHandler
	}
	m := c.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.answer()
	at := of(r)
	all := at.with(md)
	if at == &r.header && r.headerSent || r.sent || c.over.Load() {
		return errors.New("rpc: the metadata has left already")
	}
	if err := all.check(); err != nil {
		return err
	}
	*at = all
	return nil
}

// SendHeader, in the handler of a stream, adds md to the header and sends it at once, also where there is none. In a unary handler it is SetHeader,
// since the header travels with the result.
func SendHeader(ctx context.Context, md Metadata) error {
	if err := SetHeader(ctx, md); err != nil {
		return err
	}
	if s := callFrom(ctx).state().stream; s != nil {
		s.send.Lock()
		defer s.send.Unlock()
		return s.sendHeader(true)
	}
	return nil
}

// replyMetadata is what a handler has set.
type replyMetadata struct {
	header, trailer  Metadata
	headerSent, sent bool
}

// answer: mu is held.
func (m *callState) answer() *replyMetadata {
	if m.reply == nil {
		m.reply = &replyMetadata{}
	}
	return m.reply
}

// takeHeader is what of the header has not been sent; it counts as sent from now on.
func (c *callContext) takeHeader() Metadata {
	m := c.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.answer()
	if r.headerSent {
		return nil
	}
	r.headerSent = true
	return r.header
}

// takeReply is what is to go with the close frame.
func (c *callContext) takeReply() (header, trailer Metadata) {
	m := c.more.Load()
	if m == nil {
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reply
	if r == nil {
		return nil, nil
	}
	r.sent = true
	if !r.headerSent {
		header = r.header
	}
	return header, r.trailer
}
