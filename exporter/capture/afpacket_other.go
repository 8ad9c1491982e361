//go:build !linux

package capture

import (
	"context"
	"errors"
	"log/slog"
)

// OpenInterface captures from a network interface, which is possible on Linux
// only.
func OpenInterface(name string, c InterfaceConfig) (Source, error) {
	return nil, errors.New("capture: " + name + ": capturing from an interface is available on Linux only; read a capture file, or '-' for standard input, instead")
}

// OpenFanout captures from a network interface into n Sources, which is possible
// on Linux only.
func OpenFanout(name string, c InterfaceConfig, n int) ([]Source, error) {
	_, err := OpenInterface(name, c)
	return nil, err
}

// AwaitInterface waits for nothing where there is nothing to capture from.
func AwaitInterface(context.Context, string, *slog.Logger) error { return nil }
