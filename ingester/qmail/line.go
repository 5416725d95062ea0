package qmail

import (
	"bytes"

	"millrace/schema"
)

var (
	lineLog     = schema.Line.Index("log")
	lineProgram = schema.Line.Index("program")
	lineLevel   = schema.Line.Index("level")
	lineKey     = schema.Line.Index("key")
	lineText    = schema.Line.Index("text")

	logSMTP     = schema.Padded("smtp")
	logDelivery = schema.Padded("delivery")
	logSpamdyke = schema.Padded("spamdyke")

	programSend     = schema.Padded("qmail-send")
	programSpamdyke = schema.Padded("spamdyke")

	levelInfo    = schema.Padded("info")
	levelWarning = schema.Padded("warning")
	levelAlert   = schema.Padded("alert")
	levelError   = schema.Padded("error")
	levelDebug   = schema.Padded("debug")
)

// general is a line that is known and has no table of its own.
type general struct {
	log, program, level []byte
	key, text           []byte
}

// emitLine makes the event of one.
func emitLine(e *schema.Event, g general, ms int64, flags schema.Flag, direction []byte, l *Line, emit Emit) {
	e.Reset(schema.Line)
	e.Flag(flags)
	setTime(e, ms, l)
	e.SetText(schema.Direction, direction)
	e.SetText(schema.Format, g.log)
	e.SetUint(schema.SourceOffset, uint64(l.Offset))
	e.SetText(schema.Raw, l.Bytes)
	e.SetText(lineLog, g.log)
	e.SetText(lineProgram, g.program)
	e.SetText(lineLevel, g.level)
	e.SetText(lineKey, g.key)
	e.SetText(lineText, bytes.TrimLeft(g.text, " "))
	emit(e)
}
