//go:build !linux

package rpc_test

import "testing"

// Where each kill takes long, as under Wine, there are few.
const fewKills = 10

// watch is for systems that say who maps what. Elsewhere TestMain looks at this process.
type watch struct{}

func newWatch(*testing.T) *watch { return &watch{} }
func (*watch) note()             {}
func (*watch) end()              {}
