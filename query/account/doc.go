// Package account knows who may ask what: users with a role, their passwords, and API
// tokens, all of them in the log of package state.
//
//	accounts := account.New(store, account.Options{})
//	who, err := accounts.Authenticate(ctx, name, password, address)
//	who, err := accounts.AuthenticateToken(ctx, token, address)
//
// What it promises:
//   - Passwords are kept as argon2id with its parameters, tokens as SHA-256; a token's text
//     is shown when it is made and never again.
//   - Who fails learns nothing: an unknown name takes as long as a wrong password, and the
//     answer is the same.
//   - Failures are limited for each name and each address (IPv6: each /64), in bounded
//     memory; so many hashes are computed at a time that their memory is bounded too.
//   - A password that has just been right is remembered for some minutes, as a keyed hash
//     in memory, so that a script's thousand calls with Basic authentication do not cost a
//     thousand computations. A change of the password or of the user ends that at once.
//   - Names of users are in lower case, domains and addresses in the form of package
//     internal/mailname.
package account
