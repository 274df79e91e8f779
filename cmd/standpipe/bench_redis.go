package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	benchRedisAddr    = "127.0.0.1:6379" // the usual place, unless --redis names another
	benchRedisWait    = time.Second      // for an answer there
	benchRedisChannel = "standpipe-bench-that-nobody-receives"
	benchRedisBatch   = 1 << 20 // bytes of messages that are sent before their answers are read
)

// benchRedis uses a Redis that runs already. It stores nothing there.
type benchRedis struct{ conn redis.Conn }

func dialBenchRedis(ctx context.Context, addr string) (benchClient, error) {
	conn, err := redis.DialContext(ctx, "tcp", addr, redis.DialConnectTimeout(benchRedisWait), redis.DialReadTimeout(benchAnswer),
		redis.DialWriteTimeout(benchAnswer))
	if err != nil {
		return nil, fmt.Errorf("no Redis answers at %s: %w", addr, err)
	}
	if _, err := redis.DoWithTimeout(conn, benchRedisWait, "PING"); err != nil {
		conn.Close()
		return nil, fmt.Errorf("what answers at %s is no Redis, or wants a password: %w", addr, err)
	}
	return benchRedis{conn}, nil
}

func (c benchRedis) echo(ctx context.Context, msg []byte) ([]byte, error) {
	defer benchClosing(ctx, c.conn)()
	return redis.Bytes(c.conn.Do("ECHO", msg))
}

func (c benchRedis) send(ctx context.Context, msg []byte, n int) error {
	defer benchClosing(ctx, c.conn)()
	batch := max(1, min(256, benchRedisBatch/len(msg)))
	for n > 0 {
		now := min(n, batch)
		n -= now
		for range now {
			if err := c.conn.Send("PUBLISH", benchRedisChannel, msg); err != nil {
				return err
			}
		}
		if _, err := c.conn.Do(""); err != nil { // sends them, and receives all answers
			return err
		}
	}
	return nil
}

// serverCPU asks Redis itself.
func (c benchRedis) serverCPU(context.Context) (time.Duration, error) {
	info, err := redis.String(c.conn.Do("INFO", "cpu"))
	if err != nil {
		return 0, err
	}
	return benchRedisCPU(info), nil
}

// benchRedisCPU is the sum of what the server has used itself and for the system.
func benchRedisCPU(info string) (used time.Duration) {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, _ := strconv.ParseFloat(value, 64)
			used += time.Duration(seconds * float64(time.Second))
		}
	}
	return used
}

func (c benchRedis) close() error { return c.conn.Close() }
