//! AMF0 values: reading what a publisher sends, writing what it is answered.
//!
//! Reading is bounded in depth and in the number of values. Numbers, booleans, strings, objects, arrays, null,
//! undefined and dates are kept; XML, typed objects and references, which no encoder sends, are errors, and so is
//! the switch to AMF3.

use bytes::{BufMut, BytesMut};

/// Objects within objects.
const DEPTH_MAX: usize = 8;
/// Values in one message, keys not counted.
const VALUES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    /// Objects and ECMA arrays: the pairs in their order.
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    #[error("AMF0 value is cut off")]
    CutOff,
    #[error("AMF0 type {0:#04x} is not taken")]
    Type(u8),
    #[error("AMF0 values nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("more than {VALUES_MAX} AMF0 values")]
    TooMany,
}

mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
}

impl Value {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Number(_) | Self::Boolean(_) | Self::Object(_) | Self::Array(_) | Self::Null => None,
        }
    }

    pub(crate) const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Boolean(_) | Self::String(_) | Self::Object(_) | Self::Array(_) | Self::Null => None,
        }
    }

    /// The value of a key; none if this is no object.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn object<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Object(pairs.map(|(key, value)| (key.to_owned(), value)).into())
    }

    pub(crate) fn string(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    pub(crate) fn write(&self, output: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                output.put_u8(marker::NUMBER);
                output.put_f64(*number);
            }
            Self::Boolean(boolean) => output.put_slice(&[marker::BOOLEAN, u8::from(*boolean)]),
            Self::String(text) => {
                output.put_u8(marker::STRING);
                write_text(text, output);
            }
            Self::Object(pairs) => {
                output.put_u8(marker::OBJECT);
                for (key, value) in pairs {
                    write_text(key, output);
                    value.write(output);
                }
                output.put_slice(&[0, 0, marker::OBJECT_END]);
            }
            Self::Array(values) => {
                output.put_u8(marker::STRICT_ARRAY);
                output.put_u32(values.len() as u32);
                for value in values {
                    value.write(output);
                }
            }
            Self::Null => output.put_u8(marker::NULL),
        }
    }
}

/// At most 65535 bytes; longer text is cut at a character's border.
fn write_text(text: &str, output: &mut BytesMut) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    output.put_u16(text.len() as u16);
    output.put_slice(text.as_bytes());
}

/// Reads the values of one message.
#[derive(Debug)]
pub(crate) struct AmfReader<'a> {
    bytes: &'a [u8],
    values: usize,
}

impl<'a> AmfReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, values: 0 }
    }

    /// The next value; none at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Value>, AmfError> {
        if self.bytes.is_empty() { Ok(None) } else { self.value(0).map(Some) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        if depth > DEPTH_MAX {
            return Err(AmfError::TooDeep);
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(AmfError::TooMany);
        }
        let [kind] = self.take()?;
        match kind {
            marker::NUMBER => Ok(Value::Number(f64::from_be_bytes(self.take()?))),
            marker::BOOLEAN => self.take().map(|[byte]| Value::Boolean(byte != 0)),
            marker::STRING => self.short_text().map(Value::String),
            marker::LONG_STRING => {
                let length = u32::from_be_bytes(self.take()?);
                self.text(length as usize).map(Value::String)
            }
            marker::OBJECT => self.pairs(depth).map(Value::Object),
            marker::ECMA_ARRAY => {
                // The count is a hint that encoders get wrong: the end marker decides.
                let _: [u8; 4] = self.take()?;
                self.pairs(depth).map(Value::Object)
            }
            marker::STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.take()?);
                (0..count).map(|_| self.value(depth + 1)).collect::<Result<_, _>>().map(Value::Array)
            }
            marker::DATE => {
                let ms = f64::from_be_bytes(self.take()?);
                let _zone: [u8; 2] = self.take()?;
                Ok(Value::Number(ms))
            }
            marker::NULL | marker::UNDEFINED | marker::UNSUPPORTED => Ok(Value::Null),
            other => Err(AmfError::Type(other)),
        }
    }

    /// Pairs up to the end marker; the end of the message does as well, since encoders forget the marker.
    fn pairs(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut pairs = Vec::new();
        while !self.bytes.is_empty() {
            let key = self.short_text()?;
            if key.is_empty() && self.bytes.first() == Some(&marker::OBJECT_END) {
                let _: [u8; 1] = self.take()?;
                break;
            }
            pairs.push((key, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    fn short_text(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.take()?);
        self.text(usize::from(length))
    }

    /// Bytes that are not UTF-8 are replaced: a title in another encoding is no reason to refuse a stream.
    fn text(&mut self, length: usize) -> Result<String, AmfError> {
        let (text, rest) = self.bytes.split_at_checked(length).ok_or(AmfError::CutOff)?;
        self.bytes = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (bytes, rest) = self.bytes.split_first_chunk().ok_or(AmfError::CutOff)?;
        self.bytes = rest;
        Ok(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
        let mut reader = AmfReader::new(bytes);
        std::iter::from_fn(|| reader.read().transpose()).collect()
    }

    #[test]
    fn an_array_without_an_end_and_with_a_wrong_count_is_read() {
        let bytes =
            b"\x08\x00\x00\x00\x63\x00\x01a\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x00\x01b\x02\x00\x02hi";
        let value = Value::object([("a", Value::Number(1.0)), ("b", Value::string("hi"))]);
        assert_eq!(read(bytes), Ok(vec![value]));
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = Value::object([
            ("n", Value::Number(-0.5)),
            ("list", Value::Array(vec![Value::Boolean(true), Value::Null])),
            ("inner", Value::object([("s", Value::string("ä"))])),
        ]);
        let mut bytes = BytesMut::new();
        value.write(&mut bytes);
        assert_eq!(read(&bytes), Ok(vec![value]));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        assert_eq!(read(&b"\x03\x00\x01a".repeat(10)), Err(AmfError::TooDeep));
        assert_eq!(read(&[5; 1025]), Err(AmfError::TooMany));
        assert_eq!(read(b"\x0a\xff\xff\xff\xff"), Err(AmfError::CutOff));
        assert_eq!(read(b"\x0c\xff\xff\xff\xffabc"), Err(AmfError::CutOff));
        assert_eq!(read(b"\x11\x0a"), Err(AmfError::Type(0x11)));
    }
}
