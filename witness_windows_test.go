package standpipe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Programs that others wrote talk to our listener and our dialer. tools/witness-get fetches them.

// witness is the command of one program, with its arguments: a script of testdata/witness first, but for client.exe.
func witness(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	dir := os.Getenv("STANDPIPE_WITNESS")
	path := filepath.Join(dir, program)
	if _, err := os.Stat(path); dir == "" || err != nil {
		if os.Getenv("STANDPIPE_WITNESS_REQUIRED") != "" {
			t.Fatalf("STANDPIPE_WITNESS=%q holds no %s; tools/witness-get fetches it", dir, program)
		}
		t.Skipf("NOT TESTED: STANDPIPE_WITNESS=%q holds no %s; tools/witness-get fetches it", dir, program)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// foreign is how a program is called, but for the pipe's path, which comes last.
type foreign struct {
	messages bool
	program  string
	args     []string
}

func script(name string) string { return filepath.Join("testdata", "witness", name) }

// TestWitnessClients: they send, and get it back from our listener.
func TestWitnessClients(t *testing.T) {
	for name, c := range map[string]foreign{
		"python open":              {false, `python\python.exe`, []string{script("pipe.py"), "file"}},
		"python open, messages":    {true, `python\python.exe`, []string{script("pipe.py"), "file"}},
		"python asyncio":           {false, `python\python.exe`, []string{script("pipe.py"), "proactor"}},
		"python AF_PIPE, messages": {true, `python\python.exe`, []string{script("pipe.py"), "af_pipe"}},
		"node":                     {false, "node.exe", []string{script("pipe.js"), "client"}},
		"C overlapped":             {false, "client.exe", []string{"overlapped"}},
		"C CallNamedPipe":          {true, "client.exe", []string{"call"}},
		"C TransactNamedPipe":      {true, "client.exe", []string{"transact"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := freshListener(t, &ListenConfig{Messages: c.messages})
			cmd := witness(t, c.program, append(c.args, l.Addr().String())...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var served sync.WaitGroup
			served.Go(func() {
				for {
					s, err := l.AcceptConn()
					if err != nil {
						return
					}
					served.Go(func() {
						defer s.Close()
						if id := s.Identity(); id.User != currentUser() || id.PID != cmd.Process.Pid {
							t.Errorf("the client is %v", id)
						}
						if err := echoMessages(s); err != nil {
							t.Error(err)
						}
					})
				}
			})
			if err := cmd.Wait(); err != nil || strings.TrimSpace(out.String()) != "ok" {
				t.Errorf("%v\n%s", err, &out)
			}
			l.Close()
			within(t, "the end of a witness's connection", served.Wait)
		})
	}
}

// echoMessages sends back each read in one write, and a message that comes in parts in one.
func echoMessages(s *Conn) error {
	b := make([]byte, 4096)
	var message []byte
	for {
		n, err := s.Read(b)
		message = append(message, b[:n]...)
		switch {
		case errors.Is(err, io.ErrShortBuffer):
			continue
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if _, err := s.Write(message); err != nil {
			return err
		}
		message = message[:0]
	}
}

// TestWitnessServers: our dialer finds them, and gets back what it sends.
func TestWitnessServers(t *testing.T) {
	for name, c := range map[string]foreign{
		"python asyncio":           {false, `python\python.exe`, []string{script("pipe.py"), "proactor_server"}},
		"python AF_PIPE, messages": {true, `python\python.exe`, []string{script("pipe.py"), "af_pipe_server"}},
		"node":                     {false, "node.exe", []string{script("pipe.js"), "server"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := freshName()
			cmd := witness(t, c.program, append(c.args, path)...)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			if line, err := bufio.NewReader(stdout).ReadString('\n'); strings.TrimSpace(line) != "ready" {
				t.Fatalf("%q, %v\n%s", line, err, stderr.String())
			}
			for range 3 { // one after the other
				conn := dialWitness(t, path, c.messages)
				if id := conn.Identity(); id.User != currentUser() && !onWine() || id.PID != cmd.Process.Pid {
					t.Errorf("the server is %v, its process %d", id, cmd.Process.Pid)
				}
				for _, size := range []int{1, 100, 8192, 8193, 200000} {
					if err := ask(conn, bytes.Repeat([]byte("q"), size), c.messages); err != nil {
						t.Fatal(err)
					}
				}
				conn.Close()
			}
		})
	}
}

// dialWitness is Dial. In Wine, a pipe that was made without a security descriptor has no owner, so that Dial must refuse it;
// there the connection is made by the half of Dial that checks nothing.
func dialWitness(t *testing.T, path string, messages bool) *Conn {
	t.Helper()
	cfg := DialConfig{Messages: messages}
	if !onWine() {
		conn, err := Dial(soon(t), path, &cfg)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	addr, err := parseAddr(path)
	if err != nil {
		t.Fatal(err)
	}
	end, err := dial(soon(t), addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := end.identity()
	if err != nil || id.User != "" {
		t.Fatalf("Wine knows the owner now (%v, %v): this test can use Dial", id, err)
	}
	return newConn(end, addr, id, nil)
}

// ask sends b and wants it back, in one message where messages are kept.
func ask(conn *Conn, b []byte, messages bool) error {
	sent := make(chan error, 1)
	go func() { _, err := conn.Write(b); sent <- err }()
	got := make([]byte, len(b)+1)
	n, err := 0, error(nil)
	if messages {
		n, err = conn.Read(got)
	} else {
		n, err = io.ReadFull(conn, got[:len(b)])
	}
	if err == nil {
		err = <-sent
	}
	if err != nil || !bytes.Equal(got[:n], b) {
		return fmt.Errorf("sent %d, got %d: %w", len(b), n, err)
	}
	return nil
}

func TestWitnessNobody(t *testing.T) {
	out, err := witness(t, "node.exe", script("pipe.js"), "nobody", freshName()).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v\n%s", err, out)
	}
}
