package standpipe

import (
	"cmp"
	"slices"
)

// List finds the names that are being served and that the caller may see: this user's own, and the machine's shared
// ones, sorted. Endpoints with a path of their own have no name and are not found. Endpoints whose server has died are
// left out.
func List() ([]Addr, error) {
	addrs, err := list()
	if err != nil {
		return nil, opError("list", Addr{name: "endpoints", path: "endpoints"}, err)
	}
	slices.SortFunc(addrs, func(a, b Addr) int { return cmp.Compare(a.name, b.name) })
	return slices.Compact(addrs), nil // a system may list a name more than once
}
