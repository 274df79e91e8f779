package standpipe

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// onWine is for what Wine lacks and Windows must have.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

var nameSeq atomic.Int64

// freshName is a pipe's path that nobody else has.
func freshName() string {
	return fmt.Sprintf(`%sstandpipe-test-%d-%d`, pipeRoot, os.Getpid(), nameSeq.Add(1))
}

// freshListener listens until the test ends.
func freshListener(t testing.TB, cfg *ListenConfig) *Listener {
	t.Helper()
	l, err := Listen(freshName(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// soon is a context that ends before the test's patience does.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// connected makes one connection: the client's and the server's end.
func connected(t testing.TB, cfg *ListenConfig) (client, server *Conn) {
	t.Helper()
	l, err := Listen(freshName(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = Dial(soon(t), l.Addr().String(), &DialConfig{Messages: cfg != nil && cfg.Messages})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}
