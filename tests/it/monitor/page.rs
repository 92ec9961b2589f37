//! The status page in a real browser, during a real write, with scripts and without.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{
    COPIES, Database, Pgflight, Put, attempt, batch, get, path, status, wait_until,
};

/// A name that would be markup with a script if it were not escaped.
const NAME: &str = "</code><script>document.title='hit'</script><b id=\"hit\">";

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

/// The DOM that a browser ends up with, and its console output.
fn browse(url: &str, scripts: bool, options: &[&str]) -> (String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/chromium");
    let found = Command::new(script).output().unwrap();
    let reported = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{reported}");
    let chromium = String::from_utf8(found.stdout).unwrap();
    let profile = std::env::temp_dir().join(format!("pgflight-chromium-{}", uuid::Uuid::new_v4()));
    let preferences = json!({"profile": {"default_content_setting_values": {
        "javascript": if scripts { 1 } else { 2 }
    }}});
    std::fs::create_dir_all(profile.join("Default")).unwrap();
    std::fs::write(profile.join("Default/Preferences"), preferences.to_string()).unwrap();
    let mut command = Command::new(chromium.trim());
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ])
        .args([
            "--no-first-run",
            // Requests are blocked except for this page.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--disable-dev-shm-usage",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(options)
        .args(["--dump-dom", url]);
    let output = command.output().unwrap();
    let _ = std::fs::remove_dir_all(profile);
    let reported = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{reported}");
    (String::from_utf8(output.stdout).unwrap(), reported)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_a_running_write_with_and_without_scripts() {
    let database = Database::new().await;
    database.execute("CREATE TABLE \"<i>t</i>\" (n int)").await;
    let server = Pgflight::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]);
    let mut client = server.client().await;
    client
        .put(Put::bare(path(&["missing"]), &[rows(&[1])]))
        .await
        .unwrap_err();
    let spec = json!({"table": "<i>t</i>", "append": {}});
    client.begin(NAME, spec, &rows(&[])).await.unwrap();
    let put = Put::whole(attempt(NAME, 0, "a"), &[rows(&[0; 1234])]);
    client.put(put).await.unwrap();
    let mut messages = Put::whole(attempt(NAME, 1, "b"), &[rows(&[0; 5678])]).0;
    let last = messages.pop().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let rest = stream::once(ended).map(move |_| last.clone());
    let messages = stream::iter(messages).chain(rest);
    let running = tokio::spawn(async move { client.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    let address = &server.monitor;
    wait_until(
        async || status(address).await["streams"][0]["row_count"] == 5678,
        "its rows are with PostgreSQL",
    )
    .await;
    // Opening the table may have taken long as well, but the client takes longer all the time.
    wait_until(
        async || {
            let page = get(address, "/").await.body;
            page.contains("1,234") && page.contains("data-side=\"client\"")
        },
        "the ledger's answer and the slow side are shown",
    )
    .await;

    // The full text of a name that its column cuts.
    let page = get(address, "/").await.body;
    let whole =
        "<code title=\"&lt;/code&gt;&lt;script&gt;document.title=&#39;hit&#39;&lt;/script&gt;";
    assert!(page.contains(whole), "{page}");

    let url = format!("http://{address}/");
    let without = browse(&url, false, &[]);
    // The browser runs with virtual time, which waits for answers.
    let with = browse(&url, true, &["--virtual-time-budget=7000"]);
    for (dom, reported) in [&without, &with] {
        for part in [
            "waits for its client",
            ">5,678<",
            ">1,234<",
            ">NOT_FOUND<",
            ">open<",
            "data-side=\"client\"",
            "class=\"line\" d=\"M",
            "&lt;/code&gt;&lt;script&gt;",
            "public.\"&lt;i&gt;t&lt;/i&gt;\"",
            "<title>pgflight</title>",
        ] {
            assert!(dom.contains(part), "no {part} in {dom}");
        }
        assert!(!dom.contains("<b id=\"hit\""), "{dom}");
        // The messages of the page, not those of the browser.
        let mut reported = reported.lines().filter(|line| line.contains(":CONSOLE"));
        assert_eq!(reported.next(), None, "the browser complains of the page");
    }
    let (without, with) = (without.0, with.0);
    assert!(
        !without.contains("data-refreshed"),
        "scripts are off: {without}"
    );
    assert!(without.contains("http-equiv=\"refresh\""), "{without}");
    assert!(
        with.contains("data-refreshed=\""),
        "it was not fetched again: {with}"
    );
    let _ = end.send(());
    running.await.unwrap().unwrap();

    let head = get(address, "/").await.head;
    let policy = head
        .lines()
        .find(|line| line.starts_with("content-security-policy: "));
    assert!(
        policy
            .unwrap()
            .contains("default-src 'none'; style-src 'self'; script-src 'self'")
    );
}
