package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// printer prints events as they come: a line of text for each, or of JSON.
type printer struct {
	w       io.Writer
	json    bool
	quiet   bool // nothing but the summary
	verbose bool // what only keeps the connection going, too
	bytes   int  // of each piece that is not our wire
	err     error
}

// upkeep are events of frames that only keep the connection going.
var upkeep = map[string]bool{"credit": true, "release": true, "retire": true, "bell": true, "segment": true, "ping": true, "pong": true, "files": true, "piece": true}

func (p *printer) print(e *event) {
	if p.quiet || p.err != nil {
		return
	}
	if p.json {
		line, err := json.Marshal(e)
		if err == nil {
			_, err = p.w.Write(append(line, '\n'))
		}
		p.err = err
		return
	}
	if upkeep[e.What] && !p.verbose {
		return
	}
	arrow := map[string]string{toServer: ">", toClient: "<", "": " "}[e.Way]
	text := fmt.Sprintf("%11.6f #%d %s %s\n", float64(e.At)/1e9, e.Conn, arrow, e.line())
	if len(e.Bytes) > 0 && p.bytes != 0 {
		text += p.dump(e)
	}
	_, p.err = io.WriteString(p.w, text)
}

// line says in words what an event is.
func (e *event) line() string {
	var b strings.Builder
	b.WriteString(e.What)
	if e.What == "open" || e.What == "hello" || e.What == "close" || e.What == "end" {
		if e.Text != "" {
			b.WriteString(" " + plain(e.Text))
		}
		return b.String()
	}
	if e.What == "beside" {
		return fmt.Sprintf("beside: %s of frames went through the ring, where a trace does not see them", byteText(e.Size))
	}
	if e.What == "ring" {
		return "ring: what follows this way goes through shared memory, where a trace does not see it"
	}
	if e.Stream != 0 {
		fmt.Fprintf(&b, " %d", e.Stream)
	}
	if e.Method != "" {
		b.WriteString(" " + plain(e.Method))
	}
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	b.WriteString(e.sizes())
	if e.Took != 0 {
		fmt.Fprintf(&b, " after %v", took(e.Took))
	}
	if e.Text != "" {
		b.WriteString(" " + quoted(e.Text, e.Code != ""))
	}
	if len(e.Details) > 0 {
		fmt.Fprintf(&b, " details: %s", plain(strings.Join(e.Details, " ")))
	}
	writeMeta(&b, "header", e.Header)
	writeMeta(&b, "meta", e.Meta)
	if len(e.Value) > 0 {
		b.WriteString(" " + shortened(string(e.Value)))
	}
	return b.String()
}

// longestValue is how much of a value is a part of a line of text.
const longestValue = 1000

// shortened is a value's JSON, or the beginning of it.
func shortened(text string) string {
	if len(text) <= longestValue {
		return text
	}
	return fmt.Sprintf("%s..., %d B in all; --json shows them", strings.ToValidUTF8(text[:longestValue], ""), len(text))
}

// sizes are what travelled with an event.
func (e *event) sizes() string {
	var parts []string
	switch e.What {
	case "call", "stream", "data", "answer", "message", "bytes", "piece", "segment", "credit":
		size := byteText(e.Size)
		if e.Codec != "" && e.What != "credit" {
			size = e.Codec + " " + size
		}
		if e.What != "stream" && (e.What != "answer" || e.Size > 0) {
			parts = append(parts, size)
		}
	}
	if e.What == "stream" {
		parts = append(parts, e.Codec)
	}
	if e.Buffers > 0 {
		text := fmt.Sprintf("buffers: %d, %s", e.Buffers, byteText(e.Bulk))
		if e.Shared > 0 {
			text += fmt.Sprintf(", %s of it in shared memory", byteText(e.Shared))
		}
		parts = append(parts, text)
	}
	if e.Limit > 0 {
		parts = append(parts, "limit "+took(e.Limit).String())
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// dump shows bytes in hex, and beside that as text.
func (p *printer) dump(e *event) string {
	b, left := e.Bytes, 0
	if p.bytes > 0 && len(b) > p.bytes {
		b, left = b[:p.bytes], len(b)-p.bytes
	}
	var out strings.Builder
	at := e.Offset
	for line := range strings.Lines(hex.Dump(b)) {
		fmt.Fprintf(&out, "            %08x%s", at, line[8:])
		at += 16
	}
	if left > 0 {
		fmt.Fprintf(&out, "            and %d bytes more; --bytes -1 shows all\n", left)
	}
	return out.String()
}

func writeMeta(b *strings.Builder, what string, md map[string][]string) {
	for _, key := range sortedKeys(md) {
		for _, value := range md[key] {
			fmt.Fprintf(b, " %s %s=%s", what, key, quoted(value, false))
		}
	}
}

// quoted is text that came from somebody: with quotes where it could be taken for something else.
func quoted(text string, always bool) string {
	if always || plain(text) != text {
		return strconv.Quote(text)
	}
	return text
}

// took is a duration with about three digits.
func took(ns int64) time.Duration {
	d := time.Duration(ns)
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

// byteText is a number of bytes for people.
func byteText(n uint64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
