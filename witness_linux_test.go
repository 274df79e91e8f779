package standpipe_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
)

// Witnesses: programs of others, who know sockets and nothing of us, at the other end.

// witness is the command of a foreign program. Where it is not installed, that is said, and fails where CI wants it.
func witness(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("STANDPIPE_WITNESS_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skipf("LEFT OUT: the witness %s is not installed", program)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	return cmd
}

// question is longer than one read of anybody.
var question = strings.Repeat("the quick brown fox ", 10000)

// at is a command with the socket's path in the place of {path}.
func at(path string, command []string) (program string, args []string) {
	for _, arg := range command[1:] {
		args = append(args, strings.ReplaceAll(arg, "{path}", path))
	}
	return command[0], args
}

// The programs. The clients send their stdin, say that this was all, and print what comes back; the servers echo.
const (
	pythonClient = `
import socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def send():
    s.sendall(sys.stdin.buffer.read())
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
while b := s.recv(65536):
    sys.stdout.buffer.write(b)
`
	pythonServer = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
c, _ = s.accept()
while b := c.recv(65536):
    c.sendall(b)
`
	pythonMessages = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
for n in (1, 100, 50000):
    s.send(b"x" * n)
print(*(len(s.recv(65536)) for _ in range(3)), flush=True)
s.close()
`
	pythonFiles = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
data, fds, _, _ = socket.recv_fds(s, 100, 4)
os.write(fds[0], b"python was here: " + data)
r, w = os.pipe()
os.write(w, b"from python's pipe")
os.close(w)
socket.send_fds(s, [b"y"], [r])
s.recv(1)
`
	nodeClient = `
const s = require("net").connect(process.argv[1]);
process.stdin.pipe(s);
s.pipe(process.stdout);
`
	nodeServer = `
require("net").createServer({allowHalfOpen: true}, c => c.pipe(c)).listen(process.argv[1]);
`
)

// TestWitnessClients: foreign clients of our Listener.
func TestWitnessClients(t *testing.T) {
	for name, command := range map[string][]string{
		"python": {"python3", "-c", pythonClient, "{path}"},
		"node":   {"node", "-e", nodeClient, "{path}"},
		"socat":  {"socat", "-t", "30", "-", "UNIX-CONNECT:{path}"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "x.sock")
			program, args := at(path, command)
			cmd := witness(t, program, args...)
			ln, err := standpipe.Listen(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer serve(ln)()
			cmd.Stdin = strings.NewReader(question)
			out, err := cmd.Output()
			if err != nil || string(out) != question {
				t.Errorf("%d bytes of %d came back, %v", len(out), len(question), err)
			}
		})
	}
}

// TestWitnessServers: our Dial of foreign servers, who end what they send when we end ours.
func TestWitnessServers(t *testing.T) {
	for name, command := range map[string][]string{
		"python": {"python3", "-c", pythonServer, "{path}"},
		"node":   {"node", "-e", nodeServer, "{path}"},
		"socat":  {"socat", "-t", "30", "UNIX-LISTEN:{path}", "EXEC:cat"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "x.sock")
			program, args := at(path, command)
			cmd := witness(t, program, args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			c, err := standpipe.Dial(soon(t), path, &standpipe.DialConfig{Wait: true})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			if id := c.Identity(); id.PID != cmd.Process.Pid && name != "python" { // a shim may have started python
				t.Errorf("the server is %v; its process is %d", id, cmd.Process.Pid)
			}
			written := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c, question)
				if err == nil {
					err = c.CloseWrite()
				}
				written <- err
			}()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != question {
				t.Errorf("%d bytes of %d came back, %v", len(got), len(question), err)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWitnessMessages(t *testing.T) {
	path := filepath.Join(folder(t), "x.sock")
	cmd := witness(t, "python3", "-c", pythonMessages, path)
	ln, err := standpipe.Listen(path, &standpipe.ListenConfig{Messages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	echoing := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			echoing <- err
			return
		}
		defer c.Close()
		for b := make([]byte, 64<<10); ; {
			n, err := c.Read(b)
			if err == nil {
				_, err = c.Write(b[:n])
			}
			if err != nil {
				echoing <- err
				return
			}
		}
	}()
	out, err := cmd.Output()
	if err != nil || string(out) != "1 100 50000\n" {
		t.Errorf("the messages came back as %q, %v", out, err)
	}
	ln.Close()
	if err := <-echoing; err != io.EOF {
		t.Error(err)
	}
}

// TestWitnessFiles: Python's send_fds and recv_fds.
func TestWitnessFiles(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "x.sock")
	cmd := witness(t, "python3", "-c", pythonFiles, path)
	ln, err := standpipe.Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	c, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := c.WriteHandles([]byte("x"), f); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	n, files, err := c.ReadHandles(b)
	if err != nil || string(b[:n]) != "y" || len(files) != 1 {
		t.Fatalf("%q, %v, %v", b[:n], files, err)
	}
	defer files[0].Close()
	if got, err := io.ReadAll(files[0]); err != nil || string(got) != "from python's pipe" {
		t.Errorf("python's pipe has %q, %v", got, err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || string(got) != "python was here: x" {
		t.Errorf("our file has %q, %v", got, err)
	}
}

// TestWitnessCurl: HTTP over our Listener.
func TestWitnessCurl(t *testing.T) {
	path := filepath.Join(folder(t), "x.sock")
	cmd := witness(t, "curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--unix-socket", path,
		"--data-binary", "@-", "http://local/one", "http://local/two")
	ln, err := standpipe.Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s: %d bytes, %v\n", r.Method, r.URL.Path, len(b), err)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	cmd.Stdin = strings.NewReader(question)
	out, err := cmd.Output()
	want := fmt.Sprintf("POST /one: %d bytes, <nil>\nPOST /two: ", len(question))
	if err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("%q, %v", out, err)
	}
	if err := server.Shutdown(soon(t)); err != nil {
		t.Error(err)
	}
	<-served
}
