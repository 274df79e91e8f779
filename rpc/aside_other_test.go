//go:build !windows

package rpc_test

import "testing"

// aside: nothing of a killed peer stays in this process.
func aside(*testing.T) bool { return false }
