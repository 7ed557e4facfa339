//! Directories whose names are on disk.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory and those above it that are missing, and the name of each
/// durable. The name of a directory that is there is made durable as well: who
/// made it may not have done so.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let parent = parent_of(path);
    if path.is_dir() {
        return match sync_directory(parent) {
            // The parent of a volume's directory may be nobody's business here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if !parent.is_dir() {
        make_directory(parent)?;
    }
    match fs::create_dir(path) {
        // Another process may have made it meanwhile.
        Err(error) if !path.is_dir() => return Err(error),
        _ => {}
    }
    sync_directory(parent)
}

/// The directory that has the name.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_missing_are_made() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b/c");
        make_directory(&path).unwrap();
        assert!(path.is_dir());
        make_directory(&path).unwrap();
        fs::write(path.join("file"), b"").unwrap();
        make_directory(&path.join("file")).unwrap_err();
        make_directory(&path.join("file/d")).unwrap_err();
    }

    #[test]
    fn a_name_without_a_directory_is_in_the_current_one() {
        assert_eq!(parent_of(Path::new("data")), Path::new("."));
        assert_eq!(parent_of(Path::new("/data")), Path::new("/"));
        assert_eq!(parent_of(Path::new("/")), Path::new("/"));
    }
}
