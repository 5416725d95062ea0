// Package api is the HTTP API of answers: JSON under /api/v1 for whatever the command line
// asks and decides, its OpenAPI document, and beside it what package compat serves for scripts
// that were written for the vendor's API.
//
// What it promises:
//   - HTTPS alone (TLS 1.2 and later). Without a certificate it makes one of its own, and at
//     the first start an admin with a password in a file.
//   - Whoever asks is somebody: by Basic authentication, by a token, or by the cookie of a login.
//     What he sees goes through his access.Scope, and nowhere else. A cookie alone changes
//     nothing when another site sends it (net/http.CrossOriginProtection).
//   - Every endpoint and parameter is in one table ([Server.endpoints]), from which both the
//     routes and the OpenAPI document are made. A parameter that is not in it is an error.
//   - Errors are RFC 9457. A question has limits that ClickHouse holds: time, rows, memory.
//   - A page, a report and a list are whole before they are sent, and have an ETag. An export is
//     streamed; when it fails after its first byte, the connection is cut, so that nobody takes
//     a part for the whole.
package api
