package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/query/access"
	"millrace/query/account"
	"millrace/query/state"
)

// sessionLife is how long a login is good.
const sessionLife = 12 * time.Hour

// sessionLabel marks the tokens of logins.
const sessionLabel = "login"

func (s *Server) people() []endpoint {
	return []endpoint{
		{
			method: "POST", path: "/login", summary: "Log in: the answer sets a cookie, good for twelve hours", open: true,
			body: Credentials{}, answer: Me{}, serve: (*request).login,
		},
		{method: "POST", path: "/logout", summary: "End the login", answer: struct{}{}, serve: (*request).logout},
		{method: "GET", path: "/me", summary: "Who asks, and what he may see", answer: Me{}, serve: (*request).me},
		{method: "GET", path: "/users", summary: "The users", least: admins, answer: []User{}, serve: (*request).users},
		{method: "POST", path: "/users", summary: "Add a user", least: admins, body: NewUser{}, answer: User{}, serve: (*request).addUser},
		{method: "PUT", path: "/users/{name}", summary: "Change a user's role, domains, addresses, or whether it may log in", least: admins, body: User{}, answer: User{}, serve: (*request).setUser},
		{method: "DELETE", path: "/users/{name}", summary: "Remove a user and its tokens", least: admins, answer: struct{}{}, serve: (*request).removeUser},
		{method: "PUT", path: "/users/{name}/password", summary: "Give a user another password: an admin anybody, everybody himself", body: Password{}, answer: struct{}{}, serve: (*request).setPassword},
		{method: "GET", path: "/tokens", summary: "Tokens: an admin sees all, everybody his own", answer: []Token{}, serve: (*request).tokens},
		{method: "POST", path: "/tokens", summary: "Make a token; its text is in this answer and never again", body: NewToken{}, answer: Token{}, serve: (*request).addToken},
		{method: "DELETE", path: "/tokens/{id}", summary: "End a token", answer: struct{}{}, serve: (*request).revokeToken},
	}
}

// Credentials log in.
type Credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Me is the one who asks.
type Me struct {
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Domains   []string `json:"domains,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

// User may ask.
type User struct {
	Name      string   `json:"name"`
	Role      string   `json:"role"` // admin, domain, email
	Domains   []string `json:"domains,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Disabled  bool     `json:"disabled,omitempty"`
}

// NewUser is one to add.
type NewUser struct {
	User
	Password string `json:"password,omitempty"` // none: tokens alone let it in
}

// Password is another one.
type Password struct {
	Password string `json:"password"`
}

// Token lets a program in as a user.
type Token struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Label   string    `json:"label,omitempty"`
	Last4   string    `json:"last4"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Text    string    `json:"token,omitempty"` // in the answer that makes it
}

// NewToken is one to make.
type NewToken struct {
	User    string    `json:"user,omitempty"` // none: the one who asks
	Label   string    `json:"label,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

func meOf(p account.Principal) Me { return Me{p.Name, string(p.Role), p.Domains, p.Addresses} }

func (r *request) me() error { return r.json(meOf(r.who)) }

func (r *request) login() error {
	var c Credentials
	if err := r.into(&c); err != nil {
		return err
	}
	who, err := r.s.o.Accounts.Authenticate(r.Context(), c.Name, c.Password, remote(r.Request))
	if err != nil {
		if _, ours := problemOf(err); ours {
			return err
		}
		return &problem{Status: http.StatusUnauthorized, Title: http.StatusText(http.StatusUnauthorized), Detail: err.Error()}
	}
	ends := r.s.o.Now().Add(sessionLife)
	token, _, err := r.s.o.Accounts.AddToken(r.Context(), By(who, state.API), who.Name, sessionLabel, ends)
	if err != nil {
		return err
	}
	http.SetCookie(r.w, &http.Cookie{Name: sessionCookie, Value: token, Path: "/", MaxAge: int(sessionLife.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	return r.json(meOf(who))
}

func (r *request) logout() error {
	if r.who.Token != "" {
		if err := r.s.o.Accounts.RevokeToken(r.Context(), By(r.who, state.API), r.who.Token, "logged out"); err != nil {
			return err
		}
	}
	http.SetCookie(r.w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	return r.json(struct{}{})
}

func userOf(u state.User) User { return User{u.Name, u.Role, u.Domains, u.Addresses, u.Disabled} }

func (r *request) users() error {
	all := []User{}
	for _, u := range r.s.o.Accounts.Users() {
		all = append(all, userOf(u))
	}
	return r.json(all)
}

// user answers with a user as it is now.
func (r *request) user(name string) error {
	for _, u := range r.s.o.Accounts.Users() {
		if strings.EqualFold(u.Name, name) {
			return r.json(userOf(u))
		}
	}
	return account.ErrNoUser
}

func (r *request) addUser() error {
	var u NewUser
	if err := r.into(&u); err != nil {
		return err
	}
	err := r.s.o.Accounts.Add(r.Context(), r.by(), state.User{Name: u.Name, Role: u.Role, Domains: u.Domains, Addresses: u.Addresses, Disabled: u.Disabled}, u.Password)
	if err != nil {
		return mine(err)
	}
	return r.user(u.Name)
}

// mine is an error of the one who asks, unless it is known as another.
func mine(err error) error {
	if _, known := problemOf(err); known {
		return err
	}
	return badRequest(err)
}

func (r *request) setUser() error {
	var u User
	if err := r.into(&u); err != nil {
		return err
	}
	name := r.PathValue("name")
	if u.Name != "" && !strings.EqualFold(u.Name, name) {
		return problemf(http.StatusBadRequest, "a user keeps its name: %q is not %q", u.Name, name)
	}
	err := r.s.o.Accounts.Set(r.Context(), r.by(), name, func(have *state.User) error {
		have.Role, have.Domains, have.Addresses, have.Disabled = u.Role, u.Domains, u.Addresses, u.Disabled
		return nil
	})
	if err != nil {
		return mine(err)
	}
	return r.user(name)
}

func (r *request) removeUser() error {
	if strings.EqualFold(strings.TrimSpace(r.PathValue("name")), r.who.Name) {
		return problemf(http.StatusConflict, "nobody removes himself")
	}
	if err := r.s.o.Accounts.Remove(r.Context(), r.by(), r.PathValue("name")); err != nil {
		return mine(err)
	}
	return r.json(struct{}{})
}

func (r *request) setPassword() error {
	name := r.PathValue("name")
	if r.who.Role != access.Admin && !strings.EqualFold(name, r.who.Name) {
		return problemf(http.StatusForbidden, "%s may not change the password of %s", r.who.Name, name)
	}
	var p Password
	if err := r.into(&p); err != nil {
		return err
	}
	if err := r.s.o.Accounts.SetPassword(r.Context(), r.by(), name, p.Password); err != nil {
		return mine(err)
	}
	return r.json(struct{}{})
}

func (r *request) tokens() error {
	of := r.who.Name
	if r.who.Role == access.Admin {
		of = ""
	}
	all := []Token{}
	for _, t := range r.s.o.Accounts.Tokens(of) {
		all = append(all, Token{ID: t.ID, User: t.User, Label: t.Label, Last4: t.Last4, Created: t.Created, Expires: t.Expires})
	}
	return r.json(all)
}

func (r *request) addToken() error {
	var n NewToken
	if err := r.into(&n); err != nil {
		return err
	}
	if n.User == "" {
		n.User = r.who.Name
	}
	if r.who.Role != access.Admin && !strings.EqualFold(n.User, r.who.Name) {
		return problemf(http.StatusForbidden, "%s may not make tokens of %s", r.who.Name, n.User)
	}
	text, t, err := r.s.o.Accounts.AddToken(r.Context(), r.by(), n.User, n.Label, n.Expires)
	if err != nil {
		return mine(err)
	}
	r.w.Header().Set("Cache-Control", "no-store")
	return r.json(Token{ID: t.ID, User: t.User, Label: t.Label, Last4: t.Last4, Created: t.Created, Expires: t.Expires, Text: text})
}

func (r *request) revokeToken() error {
	id := r.PathValue("id")
	of := r.who.Name
	if r.who.Role == access.Admin {
		of = ""
	}
	if !slices.ContainsFunc(r.s.o.Accounts.Tokens(of), func(t state.Token) bool { return t.ID == id }) {
		return problemf(http.StatusNotFound, "there is no token %q, or it is not yours", id)
	}
	if err := r.s.o.Accounts.RevokeToken(r.Context(), r.by(), id, ""); err != nil {
		return mine(err)
	}
	return r.json(struct{}{})
}
