package traffic

// The raw words of the vocabulary. Nothing in this file may hold a NUL, CR, LF
// or the separator `","`, or end in `",`: a test looks.

var adjectives = []string{
	"amber", "ancient", "autumn", "bold", "brave", "bright", "calm", "clear", "coastal", "copper", "crisp", "eastern",
	"emerald", "fair", "first", "gentle", "golden", "grand", "green", "happy", "harbour", "high", "honest", "iron",
	"ivory", "keen", "little", "lively", "lunar", "maple", "misty", "modern", "noble", "north", "olive", "open",
	"polar", "prime", "quiet", "rapid", "royal", "silver", "solar", "southern", "steady", "stone", "swift", "western",
}

var nouns = []string{
	"anchor", "apple", "arrow", "bakery", "bay", "beacon", "bridge", "brook", "castle", "cedar", "circle", "clover",
	"crane", "creek", "delta", "dental", "eagle", "elm", "falcon", "farm", "fern", "field", "forge", "fox",
	"garden", "gate", "grove", "hill", "horizon", "island", "kestrel", "lake", "lantern", "law", "leaf", "legal",
	"lighthouse", "lodge", "market", "meadow", "mill", "moor", "oak", "orchard", "otter", "park", "peak", "pine",
	"pixel", "plaza", "pond", "port", "print", "ridge", "river", "rock", "sail", "spring", "studio", "summit",
	"valley", "view", "willow", "works",
}

var tails = []string{"", "-group", "-it", "-shop", "-services", "24", "-clinic", "-online", "-partners", "-media"}

var tlds = []string{".example", ".example.com", ".example.net", ".example.org", ".test"}

var wellKnown = []string{
	"bigmail.example", "freemail.example", "inbox.example.com", "webpost.example", "provider.example.net",
	"telco.example", "cloudmail.example", "newsletters.example", "mailer.example.com", "social.example",
}

var firstNames = []string{
	"Anna", "Ben", "Carla", "David", "Elena", "Filip", "Grace", "Hugo", "Ines", "Jan", "Karin", "Lars", "Maria", "Nils",
	"Olga", "Peter", "Quinn", "Rosa", "Sven", "Tanja", "Ulla", "Victor", "Wanda", "Xenia", "Yusuf", "Zoe", "Aisha", "Bram",
	"Chloe", "Dirk", "Emma", "Finn",
}

var lastNames = []string{
	"Adler", "Bakker", "Carter", "Dunn", "Evans", "Fischer", "Garcia", "Hansen", "Ivanov", "Jansen", "Keller", "Lopez",
	"Meyer", "Novak", "Olsen", "Petit", "Quist", "Rossi", "Smith", "Turner", "Unger", "Vermeer", "Weber", "Xu", "Young",
	"Zimmer", "Bianchi", "Clark", "Dubois", "Egger", "Ferrari", "Gruber",
}

var foreignNames = []string{
	"Jürgen Müller", "François Lefèvre", "Łukasz Wójcik", "Søren Kjær", "José Núñez", "Žofie Dvořáková", "Иван Петров",
	"田中太郎", "王小明", "김민준", "Γιώργος Παπαδόπουλος", "Ayşe Yılmaz", "Åsa Öberg", "Nguyễn Văn An",
	"=?UTF-8?B?SsO8cmdlbiBNw7xsbGVy?=", "=?iso-8859-1?Q?Andr=E9_Pirard?=",
}

var roles = []string{
	"info", "sales", "office", "support", "admin", "billing", "contact", "hello", "hr", "jobs", "marketing", "news",
	"no-reply", "noreply", "orders", "postmaster", "service", "shop", "team", "webmaster",
}

// A subject is a pattern and what takes the place of its marks: {n} a number
// that no other message has, {a} an adjective, {o} a noun, {w} a family name,
// {f} a first name, {d} a small number, {m} an amount of money.
var numberedSubjects = []string{
	"Invoice {n}", "Your order {n} has been shipped", "Order confirmation {n}", "[Ticket #{n}] {a} {o} is down",
	"Re: [Ticket #{n}] Question about the {o}", "Delivery {n}: arriving today", "Quote {n} for {w} & {w}",
	"Reminder: invoice {n} is due in {d} days", "Payment received, thank you ({n})", "Receipt {n} - {m} EUR",
	"Your booking {n} at the {a} {o}", "Backup job {n} finished: {d} warnings", "Build {n} of {o}-{a} failed",
	"Fwd: purchase order {n}, revised", "RMA {n} - {a} {o}", "Statement {n}, {d} new items", "Case {n} was updated by {f}",
	"Timesheet {n} approved", "Contract {n} for signature", "{f} {w} shared document {n} with you",
}

var plainSubjects = []string{
	"Re: {a} {o} on Thursday, {d} o'clock", "Meeting about the {a} {o} with {f} {w}", "Lunch with {f}?", "{a} {o}: {d} photos",
	"Minutes of the {o} meeting, {w} and {w}", "Fwd: {a} {o} for {f} {w}", "Newsletter: {a} {o} and {d} more ideas",
	"The {a} {o} budget, page {d}", "Question from {f} {w} about the {o}", "Holiday plan of {f} {w}, week {d}",
	"Re: Re: {o} key for {f}", "Draft: {a} {o} agreement with {w}", "{f}, your {a} {o} is ready",
}

var quotedSubjects = []string{
	`He said "{a} {o}", ok ({n})`, `Re: "{o}", "{a}" or both? {n}`, `Order {n}: 2 x "{o}", 1 x "{a}"; 50% off`,
	`"{a} {o}" {n}`, `offer {n}, 20% off, "{o}"`, `The 3.5" {o}, size {d}, no. {n}`, `Tom's "{o}" {n}, {f}'s reply`, `{n}: "{a}, {o}"`,
}

var foreignSubjects = []string{
	"Rechnung {n} über {m} € – fällig", "Bestätigung für Größe {d}, Auftrag {n}", "Commande n° {n} expédiée à {w}",
	"Zamówienie {n} zostało wysłane – dziękujemy", "Objednávka {n}: děkujeme, {f}", "Счёт № {n} на оплату",
	"ご注文 {n} の確認", "订单 {n} 已发货", "주문 {n} 확인", "Τιμολόγιο {n}", "Faktura {n} for «{o}»", "🎉 {f}, {d}% off: {a} {o} {n}",
	"Mañana: reunión {n} con {w}", "Hóa đơn {n}", "=?UTF-8?B?UmVjaG51bmc=?= {n}", "=?UTF-8?Q?F=C3=A4llig=3A_{n}?=",
}

var bounceSubjects = []string{
	"Undelivered Mail Returned to Sender", "Delivery Status Notification (Failure)", "Mail delivery failed: returning message to sender",
	"failure notice", "Automatic reply: out of office", "Delivery Status Notification (Delay)",
}

var spamSubjects = []string{
	"You have won {m} USD, claim {n} now", "Your mailbox is almost full ({n})", "Re: your unpaid invoice {n}", "Cheap {o} pills, {d}% off, {n}",
	"{f}, last chance: {a} {o} {n}", "URGENT: business proposal {n} from Mr. {w}", "SEO offer {n} for your website", "Loan approved: {m} EUR, ref {n}",
	"Hot {a} {o} singles near you {d}", "🔥 {a} {o} deal 🔥 {n}", "{a} {o} casino: {d} free spins, code {n}", "Lose {d} kg with {a} {o}",
}

var phishSubjects = []string{
	"Your parcel {n} is held at customs", "Action required: verify account {n}", "Password of your mailbox expires today ({n})",
	"Voice message from {f} {w}, {d} seconds, {n}", "Shared document: \"Salary {o}\" {n}", "Unusual sign-in, case {n}",
}

var virusSubjects = []string{
	"Scan {n} from the {o} copier", "Document {n}", "Purchase order {n}, urgent", "Shipping label {n}.zip", "Photos of {f}, {n}",
}

var filteringHosts = []string{
	"mx1.filter.example", "mx2.filter.example", "mx3.filter.example", "mx4.filter.example", "mx5.filter.example",
	"mx6.filter.example", "mx7.filter.example", "mx8.filter.example", "mx101.filter.example", "mx102.filter.example",
	"mx103.filter.example", "out1.filter.example", "out2.filter.example", "out3.filter.example",
}

// Countries by rank; how far down the list a sender sits is drawn Zipf-like.
var countries = []string{
	"US", "NL", "DE", "GB", "FR", "PL", "IT", "ES", "CN", "RU", "IN", "BR", "ZA", "SE", "CZ", "CH", "BE", "AT", "DK", "TR", "VN", "UA",
	"RO", "JP", "CA", "AU", "IE", "FI", "NO", "PT", "GR", "KR",
}

var remoteReplies = []string{
	"250 2.0.0 OK", "250 2.6.0 Queued mail for delivery", "250 Ok: queued as ", "250 ok", "250 2.1.5 Message accepted for delivery, thanks",
}

// What Exim says of a try that shall be repeated, and of one that shall not.
var deferrals = []string{
	"SMTP error from remote mail server after RCPT TO:<%>: 451 4.7.1 Greylisting in action, please come back later",
	"SMTP error from remote mail server after RCPT TO:<%>: 452 4.2.2 Mailbox full",
	"SMTP timeout after DATA (18284 bytes written)",
	"Remote host closed connection in response to end of data",
	"SMTP error from remote mail server after pipelined MAIL FROM:<>: 421 4.7.0 Try again later, closing connection",
	"Connection timed out",
}

var failures = []string{
	"SMTP error from remote mail server after end of data: 550 rbl-reject: Message rejected because is block listed",
	"SMTP error from remote mail server after RCPT TO:<%>: 550 5.1.1 <%>: Recipient address rejected: User unknown",
	"SMTP error from remote mail server after end of data: 554 5.7.1 \"Refused. Spam, or looks like it\"",
	"SMTP error from remote mail server after RCPT TO:<%>: 552 5.2.2 Over quota\\n552 see the help pages",
	"Malformed SMTP reply in response to MAIL FROM: 5xx",
}
