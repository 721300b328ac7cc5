//! Any text as a wg-quick file: no panic, an error has a line of the file, and no secret is shown.
#![no_main]

use dataplane::conf;
use libfuzzer_sys::fuzz_target;

const KEY: &str = "PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";

fuzz_target!(|text: &str| {
    for text in [text.to_owned(), format!("[Interface]\n{KEY}\n{text}")] {
        match conf::read(&text) {
            Ok(conf) => {
                assert!((conf::MTU_MIN..=conf::MTU_MAX).contains(&conf.mtu));
                let lines = text.lines().count();
                assert!(conf.remarks.iter().all(|remark| (1..=lines).contains(&remark.line)));
                assert!(!format!("{conf:?}").contains("dwdtCnMY"));
            }
            Err(error) => {
                assert!(error.line <= text.lines().count());
                assert!(!error.to_string().is_empty());
            }
        }
    }
});
