package audit

import (
	"os"
	"testing"

	"millrace/internal/embedded/embeddedtest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }
