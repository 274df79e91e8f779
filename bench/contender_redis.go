package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a program of its own, which has to be installed.

func init() {
	for _, network := range []string{"tcp", "unix"} {
		register(contender{name: "redis-" + network, group: peers, over: network, modules: []string{"github.com/redis/go-redis/v9"}, max: 64 << 20,
			shared:  "go-redis's pool, 10 connections for each CPU",
			note:    "go-redis with its own defaults, ECHO, which Redis answers itself; one way by SET, 4 in flight",
			missing: redisMissing,
			version: redisVersion,
			serve:   func(e *env) error { return redisServe(e, network) },
			dial: func(e *env) (client, error) {
				return redisClient{redis.NewClient(&redis.Options{Network: network, Addr: e.addr})}, nil
			}})
	}
}

const redisProgram = "redis-server"

func redisMissing() error {
	if _, err := exec.LookPath(redisProgram); err != nil {
		return fmt.Errorf("%s is not installed (Debian: apt-get install redis-server): %w", redisProgram, err)
	}
	return nil
}

// redisVersion is what the program says: "Redis server v=7.0.15 sha=...".
func redisVersion() string {
	out, err := exec.Command(redisProgram, "--version").Output()
	if err != nil {
		return redisProgram
	}
	for field := range strings.FieldsSeq(string(out)) {
		if v, ok := strings.CutPrefix(field, "v="); ok {
			return redisProgram + " " + v
		}
	}
	return redisProgram
}

func redisServe(e *env, network string) error {
	args := []string{"--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", e.dir, "--maxclients", "15000", "--loglevel", "warning"}
	addr := e.socket()
	if network == "unix" {
		args = append(args, "--port", "0", "--unixsocket", addr)
	} else {
		// Redis can't choose a port itself: it gets one that was free a moment ago.
		ln, err := listen(e, network)
		if err != nil {
			return err
		}
		ln.Close()
		addr = ln.Addr().String()
		args = append(args, "--bind", "127.0.0.1", "--port", strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	}
	cmd := exec.Command(redisProgram, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	e.child.Store(int64(cmd.Process.Pid))
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	const patience, pause = 10 * time.Second, 10 * time.Millisecond
	for start := time.Now(); time.Since(start) < patience; {
		if c, err := net.Dial(network, addr); err == nil {
			c.Close()
			e.ready(addr)
			return fmt.Errorf("%s has ended: %w", redisProgram, <-over)
		}
		select {
		case err := <-over:
			return fmt.Errorf("%s has ended: %w", redisProgram, err)
		case <-time.After(pause):
		}
	}
	return errors.New(redisProgram + " does not listen")
}

type redisClient struct{ c *redis.Client }

func (c redisClient) caller() (caller, error) { return redisCaller(c), nil }
func (c redisClient) close() error            { return c.c.Close() }

type redisCaller struct{ c *redis.Client }

func (k redisCaller) call(req []byte) ([]byte, error) {
	// Echo takes a string: this spares copying it.
	c := redis.NewStringCmd(context.Background(), "echo", req)
	if err := k.c.Process(context.Background(), c); err != nil {
		return nil, err
	}
	return c.Bytes()
}

func (k redisCaller) put(msg []byte) error {
	return k.c.Set(context.Background(), "k", msg, 0).Err()
}
