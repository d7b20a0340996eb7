//go:build tools

// Names the program that is built, so that `go mod tidy` keeps what it needs; this is compiled into nothing.
package tools

import _ "github.com/zhenghaoz/gorse/cmd/gorse-in-one"
