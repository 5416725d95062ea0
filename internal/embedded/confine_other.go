//go:build !linux

package embedded

import "errors"

func canConfine() bool { return false }

func confineThread(confinement) error {
	return errors.New("cannot confine ClickHouse: only Linux can")
}
