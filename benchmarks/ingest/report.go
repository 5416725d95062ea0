package main

import "millrace/benchmarks/report"

// The metrics.
const (
	mFrames        = "frames"
	mSeconds       = "seconds"
	mCPU           = "cpu_seconds"
	mCPUPerM       = "cpu_seconds_per_million"
	mFramesPerSec  = "frames_per_second"
	mFramesPerCPU  = "frames_per_cpu_second"
	mPeakRSS       = "rss_peak_mib"
	mRSS           = "rss_mib"
	mRSSLater      = "rss_later_mib"
	mGrowth        = "rss_growth_mib"
	mDuplicates    = "duplicates_refused"
	mLost          = "lost"
	mLostShare     = "lost_share"
	mReceiveBuffer = "receive_buffer_mib"
	mSenderLimited = "sender_limited"
	mSockets       = "sockets"
	mP50           = "p50_ms"
	mP99           = "p99_ms"
	mP999          = "p999_ms"
	mMax           = "max_ms"
	mNanoseconds   = "nanoseconds"
	mGBPerSec      = "gigabytes_per_second"
	mAllocs        = "allocations"
)

// Report is all that a run found.
type Report struct {
	report.Report
}
