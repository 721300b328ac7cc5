//! Built-in pages: their headers, and that nothing else is to be had.

use super::harness::Bench;

#[tokio::test]
async fn pages_are_locked_down_and_checked_for_news() {
    let bench = Bench::start().await;
    for path in ["/", "/live/demo", "/studio"] {
        let page = bench.get(path, &[]).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("access-control-allow-origin"), None);
        let policy = page.header("content-security-policy").unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let etag = format!("If-None-Match: {}", page.header("etag").unwrap());
        assert_eq!(bench.get(path, &[&etag]).await.status, 304);
    }
}

#[tokio::test]
async fn assets_stay_for_ever() {
    let bench = Bench::start().await;
    let path = crate::pages::any_asset();
    let asset = bench.get(path, &[]).await;
    assert_eq!(asset.status, 200, "{path}");
    assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
    for path in
        ["/assets/", "/assets/none.js", "/index.html", "/studio.html", "/assets/../index.html", "/%2e%2e/etc"]
    {
        bench.get(path, &[]).await.assert_problem(404);
    }
}

#[test]
fn the_metrics_are_documented() {
    let documented = include_str!("../../../../docs/metrics.md");
    let config = store::StoreConfig::in_ram(std::env::temp_dir());
    let text = crate::metrics::Metrics::default().render(&store::Store::open(config).unwrap());
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut count = 0;
    for line in names {
        let (name, kind) = line.split_once(' ').unwrap();
        let row = documented
            .lines()
            .find(|row| row.contains(&format!("`{name}`")))
            .unwrap_or_else(|| panic!("{name}"));
        assert!(row.contains(kind), "{row}");
        count += 1;
    }
    assert!(count > 10);
}
