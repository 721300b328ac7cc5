//! What every type of the API has in common: a field that is missing is an error, one that is not known is none.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// `optional` are the fields that may be absent.
pub(crate) fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, optional: &[&str]) {
    let json = serde_json::to_value(value).unwrap();
    assert_eq!(serde_json::from_value::<T>(json.clone()).unwrap(), *value);
    let mut more = json.clone();
    more["a-field-of-later"] = Value::from(vec![1, 2]);
    assert_eq!(serde_json::from_value::<T>(more).unwrap(), *value, "an unknown field");
    for field in json.as_object().unwrap().keys() {
        let mut less = json.clone();
        less.as_object_mut().unwrap().remove(field);
        let read = serde_json::from_value::<T>(less);
        assert_eq!(read.is_ok(), optional.contains(&field.as_str()), "without {field}");
    }
}
