//! Which browsers say of themselves that they are programs. Decided here: only what they say; a program that lies is met by the
//! limit per person and by the cap on what one person can move (personalization). Marking costs nobody an answer. Not decided here: that
//! somebody who is logged in is never marked (`report_clicks`).

/// Parts of the names of crawlers, monitors and libraries, in lower case.
const WORDS: [&str; 22] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "headless",
    "lighthouse",
    "pagespeed",
    "monitor",
    "preview",
    "facebookexternalhit",
    "embedly",
    "archiver",
    "scrapy",
    "phantomjs",
    "puppeteer",
    "playwright",
    "selenium",
    "curl/",
    "wget/",
    "python-",
    "go-http-client",
    "java/",
];

/// Names longer than this are cut before they are looked at: a real one has some 120 bytes.
const LOOKED_AT: usize = 512;

/// Whether `user_agent` names a program. Without a name nobody is marked: an app of ours may send none.
pub fn is_bot(user_agent: &str) -> bool {
    let name = user_agent.as_bytes();
    let name = &name[..name.len().min(LOOKED_AT)];
    // Telephones of a brand whose name ends like a robot's.
    let contains = |word: &str| name.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    !contains("cubot") && WORDS.iter().any(|word| contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_browsers_by_what_they_say() {
        for (name, bot) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true),
            ("Mozilla/5.0 (compatible; bingbot/2.0)", true),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36",
                true,
            ),
            ("curl/8.5.0", true),
            ("python-requests/2.32", true),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1",
                false,
            ),
            ("Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", false),
            ("ShopSphere/3.1 (Android)", false),
            ("", false),
        ] {
            assert_eq!(is_bot(name), bot, "{name}");
        }
        let far_behind = format!("{}Googlebot", "x".repeat(LOOKED_AT));
        assert!(!is_bot(&far_behind), "a name of any length costs the same");
    }
}
