package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

const (
	bulkSize  = 300 << 20
	bulkTime  = 2 * time.Second // then no further turn begins, beyond the second
	bulkTurns = 4               // the first apart: nobody has the memory yet
	bulkSlow  = time.Second     // what took longer is not tried again
	bulkMark  = 1 << 31         // in the length of a message of echoBytes: read what follows, and answer with its sum
	lineSize  = 64              // of a processor's cache: whoever reads a byte of each has had all of them
	bulkChunk = 256 << 10       // what the other ways read at once, which is good for them
)

// blob is the argument of "sum-of": the value is a few bytes, and the Buffer travels beside it.
type blob struct {
	Data msg.Buffer `json:"data"`
}

func sumOf(_ context.Context, in blob) (uint64, error) { return sumLines(in.Data.Bytes(), 0), nil }

// sumLines reads each cache line of b, whose first byte is number at of all.
func sumLines(b []byte, at int) (sum uint64) {
	for i := (lineSize - at%lineSize) % lineSize; i < len(b); i += lineSize {
		sum += uint64(b[i])
	}
	return sum
}

// sink reads n bytes, of which some are here, and answers with their sum.
func sink(conn net.Conn, here []byte, n int) error {
	here = here[:min(n, len(here))]
	sum, chunk := sumLines(here, 0), make([]byte, bulkChunk)
	for at := len(here); at < n; {
		k, err := conn.Read(chunk[:min(len(chunk), n-at)])
		if err != nil {
			return err
		}
		sum += sumLines(chunk[:k], at)
		at += k
	}
	_, err := conn.Write(binary.LittleEndian.AppendUint64(nil, sum))
	return err
}

// sumOver sends b to sink.
func sumOver(conn net.Conn, b []byte) (uint64, error) {
	if _, err := conn.Write(binary.LittleEndian.AppendUint32(nil, bulkMark|uint32(len(b)))); err != nil {
		return 0, err
	}
	if _, err := conn.Write(b); err != nil {
		return 0, err
	}
	var sum [8]byte
	_, err := io.ReadFull(conn, sum[:])
	return binary.LittleEndian.Uint64(sum[:]), err
}

// demoBulk moves bulkSize bytes to the service, which reads them: in a Buffer, and over sockets.
func demoBulk(ctx context.Context, w io.Writer, at demoHello, peer *rpc.Peer, say func(string)) error {
	say("a large buffer")
	defer say("")
	bare, err := bareDial(ctx, at.Bare)
	if err != nil {
		return err
	}
	defer bare.Close()
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", at.TCP)
	if err != nil {
		return err
	}
	defer tcp.Close()
	stop := context.AfterFunc(ctx, func() { bare.Close(); tcp.Close() })
	defer stop()

	shared := true
	const buffered = 2 // the last, since the Buffer is gone then
	var times [3][]time.Duration
	for turn, start := 0, time.Now(); turn < bulkTurns && (turn < 2 || time.Since(start) < bulkTime); turn++ {
		buffer, err := peer.NewBuffer(ctx, bulkSize)
		if err != nil {
			return err
		}
		shared = shared && buffer.Shared()
		data := buffer.Bytes()
		for i := 0; i < len(data); i += lineSize {
			data[i] = byte(i/lineSize + turn)
		}
		want := sumLines(data, 0)
		for i, send := range [...]func() (uint64, error){
			func() (uint64, error) { return sumOver(bare, data) },
			func() (uint64, error) { return sumOver(tcp, data) },
			func() (uint64, error) { return rpc.Call[uint64](ctx, peer, "sum-of", blob{buffer}) },
		} {
			if i != buffered && len(times[i]) > 0 && times[i][0] > bulkSlow {
				continue
			}
			began := time.Now()
			sum, err := send()
			took := time.Since(began)
			if err == nil && sum != want {
				err = errors.New("other bytes came than were sent")
			}
			if err != nil {
				buffer.Release()
				return fmt.Errorf("%d MiB to the service: %w", bulkSize>>20, err)
			}
			times[i] = append(times[i], took)
		}
	}
	how := "in memory that both processes see"
	if !shared {
		how = "copied, since this system shares no memory here"
	}
	fmt.Fprintf(w, "\n%d MiB to the service, which reads them (the Buffer: %s):\n\n", bulkSize>>20, how)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\tthe first time\t\tafter that\t\t\n")
	for _, i := range []int{buffered, 0, 1} {
		first, rest := times[i][0], times[i][1:]
		fmt.Fprintf(t, "%s\t%s\t%s\t", [...]string{bareText, "TCP on loopback", "standpipe Buffer"}[i], millis(first), gib(first))
		if len(rest) == 0 {
			fmt.Fprint(t, "not again: too slow\t\t\n")
			continue
		}
		slices.Sort(rest)
		fmt.Fprintf(t, "%s\t%s\t\n", millis(rest[len(rest)/2]), gib(rest[len(rest)/2]))
	}
	return t.Flush()
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func gib(d time.Duration) string {
	return fmt.Sprintf("%.1f GiB/s", bulkSize/float64(1<<30)/max(d, 1).Seconds())
}
