// Package embeddedtest gives the tests of other packages a real ClickHouse and
// a real broker.
//
//	func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }
//
//	func TestInsert(t *testing.T) {
//		ch := embeddedtest.ClickHouse(t)
//		database := embeddedtest.Database(t)
//		broker := embeddedtest.Broker(t, "events")
//		...
//	}
//
// There is one ClickHouse for each test binary, started by the first test that
// asks, a Second where one asks for that, and a Cluster of two. They die with the
// test binary, whatever ends that.
package embeddedtest
