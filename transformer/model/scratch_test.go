package model
import ("testing";"time";"reflect")
func TestOff(t *testing.T) {
  for _, what := range []string{"Rules","World"} {
	n := reflect.TypeOf(Rules{}).NumField()
	if what=="World" { n = reflect.TypeOf(World{}).NumField() }
	for i := range n {
		c := Config{Protocol(), Assumed(), Bounds{Records: number("R", 2), Faults: number("F", 2), Kinds: AllFaults, States: number("S",300_000)}}
		v := reflect.ValueOf(&c).Elem().FieldByName(what)
		if v.Field(i).Kind()==reflect.Bool { v.Field(i).SetBool(false) } else { c.Rules.Dedup = NoDedup }
		begin := time.Now()
		r, err := Explore(c)
		t.Logf("%s off: %d states %v %v len %d: %s", v.Type().Field(i).Name, r.States, time.Since(begin).Round(time.Millisecond), err, len(r.Course), r.Problem)
		if number("P",0)>0 && r.Problem!="" { t.Logf("\n%s", r) }
	}
  }
}
