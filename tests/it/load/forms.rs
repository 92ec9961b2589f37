//! Dates, times and numbers as people write them: what is read is what PostgreSQL reads, under any `DateStyle`.

use super::Loads;

/// Texts that are read, by their type.
const READ: &[(&str, &[&str])] = &[
    (
        "date",
        &[
            "2013-01-05",
            "2013-1-5",
            "2013/01/05",
            "2013/1/5",
            "2013.01.05",
            "20130105",
            "2013-Jan-05",
            "05-Jan-2013",
            "5-JAN-2013",
            "Jan-05-2013",
            "5 January 2013",
            "Jan 5 2013",
            "Jan 5, 2013",
            "september 30, 1999",
            "Sept 1, 1999",
            "May 1 99999",
            "2013-01-05 00:00:00",
            "2013-01-05T00:00",
            "0044-03-15 BC",
            "0001-02-29 BC",
            "0044-03-15 AD",
            " 2013-01-05 ",
            "infinity",
            "-Infinity",
        ],
    ),
    (
        "time",
        &[
            "9:05",
            "09:05",
            "9:05:01.5",
            "090501",
            "9:05 PM",
            "9:05:01.25pm",
            "12:00 AM",
            "12:30 PM",
            "24:00",
        ],
    ),
    (
        "timestamp",
        &[
            "2013-01-05 9:05",
            "2013/1/5 09:05:01.000001",
            "20130105T090501",
            "20130105 090501",
            "Jan 5, 2013 9:05 PM",
            "5 Jan 2013 09:05",
            "2013-01-05t09:05",
            "2013-01-05",
            "0044-03-15 10:00:00 BC",
        ],
    ),
    (
        "timestamptz",
        &[
            "2013-01-05 09:05 +02",
            "2013-01-05 09:05+2",
            "2013-01-05 09:05 UTC",
            "2013-01-05T09:05:01gmt",
            "20130105T090501Z",
            "Jan 5 2013 9:05 PM -03:30",
            "2013-07-05 09:05-0330",
            "0044-03-15 10:00:00+01 BC",
        ],
    ),
    ("int", &["+5", " -7 ", "007"]),
    ("numeric", &[".5", "5.", "+1e-3", "1E5", "-0012.340"]),
    ("float8", &[".5", "5.", "+1e-3", "inf", "-Infinity", "nan"]),
];

/// Texts that are rejected: PostgreSQL rejects them too, or reads them by its settings or with a loss.
const REJECTED: &[(&str, &[&str])] = &[
    (
        "date",
        &[
            "1/5/2013",
            "05-06-2013",
            "13-01-05",
            "130105",
            "Jan 5 13",
            "2013-02-29",
            "2013-13-01",
            "0000-01-01",
            "2013-01-05 10:30",
            "2013-01-05Z",
            "2013-1",
            "2013-001",
            "2013-01/05",
            "Janu 5 2013",
            "today",
            "now",
            "x",
            "",
        ],
    ),
    (
        "time",
        &[
            "9",
            "25:00",
            "9:60",
            "13:00 PM",
            "0:30 AM",
            "9:5",
            "09:05:01.0000001",
            "now",
        ],
    ),
    (
        "timestamp",
        &[
            "2013-01-05 10:30Z",
            "2013-01-05 10:30 PST",
            "1/5/2013 10:30",
            "2013-01-05 10",
        ],
    ),
    (
        "timestamptz",
        &[
            "2013-01-05 10:30",
            "2013-01-05 10:30 PST",
            "2013-01-05 10:30 Europe/Paris",
            "2013-01-05 10:30+16",
        ],
    ),
    (
        "int",
        &["1.0", "1e3", "1_000", "0x1f", "1,000", "3000000000"],
    ),
    ("numeric", &["1,000", "1.2.3", "$1"]),
];

fn lines(texts: &[&str]) -> String {
    let lines = texts.iter().enumerate();
    let lines = lines.map(|(number, text)| format!("{number},\"{text}\"\n"));
    format!("n,v\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn forms_that_are_read_mean_what_postgresql_reads() {
    for (ty, texts) in READ {
        let loads = Loads::into(&format!("n int, v {ty}")).await;
        let file = loads.folder.put("x.csv", lines(texts));
        let output = loads.load(&[&file]);
        assert!(
            output.status.success(),
            "{ty}: {}",
            crate::support::stderr(&output)
        );
        for style in [
            "ISO, MDY",
            "SQL, DMY",
            "ISO, YMD",
            "German, DMY",
            "Postgres, MDY",
        ] {
            loads
                .database
                .execute(&format!("SET DateStyle = '{style}'"))
                .await;
            for (number, text) in texts.iter().enumerate() {
                let differs = format!(
                    "SELECT v::text FROM t WHERE n = {number} AND v IS DISTINCT FROM '{text}'::{ty}"
                );
                assert_eq!(
                    loads.database.text(&differs).await,
                    "",
                    "{ty} {text:?} with {style}"
                );
            }
        }
    }
}

#[tokio::test]
async fn forms_that_depend_on_settings_are_rejected() {
    for (ty, texts) in REJECTED {
        let loads = Loads::into(&format!("n int, v {ty}")).await;
        for text in *texts {
            let file = loads.folder.put("x.csv", lines(&[text]));
            let error = loads.outcome(&[&file]).await.expect_err(text);
            assert!(error.contains("x.csv: line 2"), "{ty} {text:?}: {error}");
        }
    }
}
