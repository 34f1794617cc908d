<?php
// Router of PHP's built-in server: existing files as they are, everything else through WordPress.
$root = $_SERVER['DOCUMENT_ROOT'];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path !== '/' && is_file($root . $path) && substr($path, -4) !== '.php') {
    return false;
}
if (substr($path, -4) === '.php' && is_file($root . $path)) {
    $_SERVER['SCRIPT_NAME'] = $path;
    chdir(dirname($root . $path));
    require $root . $path;
    return true;
}
$_SERVER['SCRIPT_NAME'] = '/index.php';
chdir($root);
require $root . '/index.php';
