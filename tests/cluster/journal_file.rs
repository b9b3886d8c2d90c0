//! Journals on disk: what a run did, after any end of it.

use std::sync::{Arc, Mutex};

use okgscript::cluster::journal_file::runs_folder;
use okgscript::cluster::{JournalFile, Patch, kind};
use okgscript::diagnostic::Kind;
use serde_json::{Value, json};

use super::scripted::{Answer, Server, object, status};

#[test]
fn records_come_back_as_they_went() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("okgscript/runs");
    let file = JournalFile::create(&runs, "run-1").unwrap();
    let records: Vec<Value> = (0..3).map(|n| json!({ "type": "note", "n": n, "text": "a\nb" })).collect();
    for record in &records {
        file.append(record, true).unwrap();
    }
    let recording = JournalFile::read(&runs, "run-1").unwrap();
    assert_eq!((recording.records, recording.torn), (records, None));
    assert_eq!(JournalFile::create(&runs, "run-1").unwrap_err().kind, Kind::Failed, "a run's id is used once");
    assert_eq!(JournalFile::read(&runs, "run-2").unwrap_err().kind, Kind::Missing);
    assert_eq!(JournalFile::read(&runs, "../run-1").unwrap_err().kind, Kind::Missing);
}

#[test]
fn a_run_is_open_in_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = JournalFile::create(folder.path(), "run-1").unwrap();
    JournalFile::create(folder.path(), "run-0").unwrap();
    let error = JournalFile::open(folder.path(), "run-1").unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::Refused, 4));
    let live = || -> Vec<(String, bool)> {
        JournalFile::runs(folder.path()).into_iter().map(|run| (run.id, run.live)).collect()
    };
    assert_eq!(live(), [("run-0".to_owned(), false), ("run-1".to_owned(), true)]);
    drop(file);
    assert_eq!(live()[1], ("run-1".to_owned(), false));
    JournalFile::open(folder.path(), "run-1").unwrap();
}

#[test]
fn a_last_line_that_was_cut_off_is_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = JournalFile::create(folder.path(), "run-1").unwrap();
    file.append(&json!({ "n": 1 }), true).unwrap();
    file.append(&json!({ "n": 2, "text": "é" }), true).unwrap();
    let path = file.path().to_owned();
    drop(file);
    let whole = std::fs::read(&path).unwrap();
    // Cut at every byte, even inside a character: at most the last record is lost, and never another.
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let recording = JournalFile::read(folder.path(), "run-1").unwrap();
        let expected = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(recording.records.len(), expected, "cut at {length}");
        let clean = length == 0 || whole[length - 1] == b'\n';
        assert_eq!(recording.torn.is_none(), clean, "cut at {length}");

        let (file, again) = JournalFile::open(folder.path(), "run-1").unwrap();
        assert_eq!(again, recording);
        file.append(&json!({ "n": 3 }), true).unwrap();
        let recording = JournalFile::read(folder.path(), "run-1").unwrap();
        assert_eq!((recording.records.len(), recording.torn), (expected + 1, None));
    }
    // A line in the middle that cannot be read is no crash.
    std::fs::write(&path, "{\"n\":1}\n{\"n\":\n{\"n\":3}\n").unwrap();
    let error = JournalFile::read(folder.path(), "run-1").unwrap_err();
    assert!(error.what.ends_with("is damaged in line 2"), "{}", error.what);
}

#[tokio::test(start_paused = true)]
async fn the_intent_of_a_write_is_on_the_disk_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = Arc::new(JournalFile::create(folder.path(), "run-1").unwrap());
    let answers = [
        Answer::Json(200, object("a", 7, "one")),
        Answer::Json(200, object("a", 8, "two")),
        Answer::Json(409, status(409, "Conflict", "modified")),
        Answer::Reset,
    ];
    let server = Server::new(answers);
    let cluster = server.cluster();
    file.clone().follow(cluster.journal(), 1);
    // Seen after the file's own observer: what is on the disk when each request is about to leave.
    let on_disk: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, path) = (on_disk.clone(), file.path().to_owned());
    cluster.journal().observe(move |_| {
        let text = std::fs::read_to_string(&path).unwrap();
        log.lock().unwrap().push(text.lines().last().unwrap_or_default().to_owned());
        Ok(())
    });
    let _: Value = cluster.get(&kind::GAME_SERVER, "default", "a").await.unwrap();
    let patch = Patch::Merge(json!({ "spec": { "opsState": "None" } }));
    for _ in 0..3 {
        let _ = cluster.patch::<Value>(&kind::GAME_SERVER, "default", "a", None, &patch).await;
    }
    let on_disk = on_disk.lock().unwrap();
    assert!(on_disk[0].contains("\"read\"") && on_disk[1].contains("\"got\""), "{on_disk:?}");
    assert!(on_disk[2].contains("\"asked\"") && on_disk[2].contains("\"opsState\":\"None\""), "{}", on_disk[2]);
    let records = JournalFile::read(folder.path(), "run-1").unwrap().records;
    let said: Vec<Value> =
        records.iter().map(|it| json!([it["type"], it["id"], it["status"], it["outcome"]])).collect();
    let expected = [
        json!(["read", 1, null, null]),
        json!(["got", 1, 200, "answered"]),
        json!(["asked", 2, null, null]),
        json!(["answered", 2, 200, "answered"]),
        json!(["asked", 3, null, null]),
        json!(["answered", 3, 409, "answered"]),
        json!(["asked", 4, null, null]),
        json!(["answered", 4, null, "failed"]),
    ];
    assert_eq!(said, expected);
    assert_eq!((&records[3]["resourceVersion"], &records[3]["uid"]), (&json!("8"), &json!("a")));
}

#[test]
fn writes_without_an_outcome_are_found() {
    let record = |kind: &str, part: u64, id: u64| json!({ "type": kind, "part": part, "id": id });
    let records = vec![
        record("asked", 1, 1),
        record("asked", 1, 2),
        record("answered", 1, 1),
        record("asked", 2, 2),
        record("answered", 2, 2),
    ];
    let recording = okgscript::cluster::Recording { records, torn: None };
    assert_eq!(recording.open_writes(), [&record("asked", 1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn with_a_full_disk_nothing_is_written_to_the_cluster() {
    let full = std::path::Path::new("/dev/full");
    let Ok(device) = std::fs::OpenOptions::new().append(true).open(full) else {
        assert!(!full.exists(), "only where there is no such device");
        return;
    };
    let file = JournalFile::on(device, full);
    let server = Server::new([]);
    let cluster = server.cluster();
    Arc::new(file).follow(cluster.journal(), 1);
    let patch = Patch::Merge(json!({}));
    let error = cluster.patch::<Value>(&kind::GAME_SERVER, "default", "a", None, &patch).await.unwrap_err();
    assert_eq!(error.kind, Kind::Failed);
    assert!(error.why[0].contains("No space left"), "{:?}", error.why);
    assert!(server.asked().is_empty());
}

#[test]
fn runs_are_kept_where_the_desktop_wants_them() {
    let of = |pairs: &[(&str, &str)]| {
        let variables = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        runs_folder(&variables).map(|path| path.display().to_string())
    };
    assert_eq!(of(&[("HOME", "/home/ops")]).as_deref(), Some("/home/ops/.local/state/okgscript/runs"));
    assert_eq!(of(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]).as_deref(), Some("/s/okgscript/runs"));
    assert_eq!(of(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]).as_deref(), Some("/h/.local/state/okgscript/runs"));
    assert_eq!(of(&[]), None);
}
